"""SASLprep: the examples of RFC 4013, each prohibition, and laws on any text."""

import stringprep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.protocol.sasl import SASLCredentialsError, saslprep
from mailbackends.protocol.sasl.saslprep import unprepared


@pytest.mark.parametrize(
    ("given_text", "result"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
    ],
)
def test_examples_of_rfc_4013_section_3(given_text, result):
    assert saslprep(given_text) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\u0007b", "a control character"),
        ("a\u0085b", "a control character"),
        ("a\ue000b", "a private use character"),
        ("a\ufdd0b", "a code point that is not a character"),
        ("a\udc80b", "a surrogate code point"),
        ("a\ufffdb", "inappropriate for plain text"),
        ("a\u2ff0b", "inappropriate for canonical representation"),
        ("a\u200eb", "changes the display"),
        ("a\U000e0020b", "a tagging character"),
        ("\u0627\u0031", "mixes directions"),
        ("\u0031\u0627", "mixes directions"),
        ("\u0627a\u0627", "mixes directions"),
        ("", "is empty"),
        ("\u00ad", "is empty"),
    ],
)
def test_the_error_names_the_kind_of_a_prohibited_character_and_not_the_character(text, reason):
    with pytest.raises(SASLCredentialsError, match=reason) as caught:
        saslprep(text, what="the password")
    assert str(caught.value).startswith("the password ")
    assert not any(char in str(caught.value) for char in text if not char.isascii())


def test_none_counts_as_empty():
    with pytest.raises(SASLCredentialsError, match="the password is empty"):
        saslprep(None, what="the password")


def test_spaces_of_other_scripts_become_space():
    assert saslprep("pass\u3000word\u00a0!") == "pass word !"


def test_the_forms_are_those_of_unicode_3_2():
    later = "\U0001f100"  # DIGIT ZERO FULL STOP, of Unicode 5.2, where NFKC makes it "0."
    assert saslprep(later) == later


def test_text_that_is_only_right_to_left_is_accepted():
    assert saslprep("\u0627\u0628") == "\u0627\u0628"


def test_a_stored_string_has_no_character_newer_than_unicode_3_2():
    assert saslprep("key \U0001f511") == "key \U0001f511"
    with pytest.raises(SASLCredentialsError, match=r"newer than Unicode 3\.2"):
        saslprep("key \U0001f511", is_stored=True)


@pytest.mark.parametrize(
    "text",
    [
        "tab\tand bell\a",
        "u\u0308ber",
        "m\u00b2\u00b5\u00b4x",
        "wait\u2026\u00bd",
        "a\u00a0b",
        "\u00ad",
    ],
)
def test_unprepared_text_is_sent_as_it_was_typed(text):
    assert unprepared(text) == text.encode()


@pytest.mark.parametrize("text", ["", None])
def test_empty_text_is_refused_without_preparation_too(text):
    with pytest.raises(SASLCredentialsError, match="is empty"):
        unprepared(text)


def test_nul_is_refused_without_preparation_too():
    with pytest.raises(SASLCredentialsError, match="NUL"):
        unprepared("a\0b")


@given(st.text())
def test_any_text_is_prepared_to_a_fixed_point_or_refused(text):
    try:
        once = saslprep(text)
    except SASLCredentialsError:
        return
    assert saslprep(once) == once
    assert once.encode()
    assert not any(map(stringprep.in_table_c12, once))


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_printable_ascii_is_its_own_preparation(text):
    assert saslprep(text, is_stored=True) == text
    assert unprepared(text) == text.encode()


@given(st.text(st.characters()))
def test_unprepared_text_has_no_nul(text):
    try:
        result = unprepared(text)
    except SASLCredentialsError:
        return
    assert b"\0" not in result
    assert result.decode() == text
