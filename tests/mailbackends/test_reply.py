"""A reply: its text for people, its enhanced status code, its class."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.reply import EnhancedStatus, Reply
from mailbackends.texts import one_line


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [
        (-1, False, False, False),
        (199, False, False, False),
        (200, True, False, False),
        (250, True, False, False),
        (299, True, False, False),
        (334, False, False, False),
        (399, False, False, False),
        (400, False, True, False),
        (499, False, True, False),
        (500, False, False, True),
        (599, False, False, True),
        (600, False, False, False),
    ],
)
def test_the_first_digit_of_the_code_gives_the_class(code, positive, transient, permanent):
    reply = Reply(code)
    assert (reply.is_positive, reply.is_transient, reply.is_permanent) == (
        positive,
        transient,
        permanent,
    )


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"5.1.1 No such user", EnhancedStatus(5, 1, 1)),
        (b"2.0.0", EnhancedStatus(2, 0, 0)),
        (b"4.7.999\tlater", EnhancedStatus(4, 7, 999)),
        (b"3.1.1 no such class", None),
        (b"5.1 too short", None),
        (b"5.1.1000 too long", None),
        (b"5.1.1.1 too many", None),
        (b"5.1.1, glued", None),
        (b" 5.1.1 indented", None),
        (b"see 5.1.1", None),
        (b"", None),
    ],
)
def test_an_enhanced_status_code_is_only_read_at_the_start_of_the_text(text, status):
    assert Reply(550, (text,)).enhanced == status


def test_a_reply_without_lines_has_no_enhanced_status_code_and_no_text():
    assert (Reply(250, ()).enhanced, Reply(250, ()).text, str(Reply(250, ()))) == (None, "", "250")


def test_the_enhanced_status_code_is_written_with_dots():
    assert str(EnhancedStatus(5, 7, 13)) == "5.7.13"


def test_message_is_as_in_smtplib_and_str_is_one_line():
    reply = Reply(250, (b"mail.example.com", b"SIZE 1000", b"HELP"))
    assert reply.message == b"mail.example.com\nSIZE 1000\nHELP"
    assert str(reply) == "250 mail.example.com SIZE 1000 HELP"


def test_text_is_utf8_and_other_bytes_are_escaped():
    assert Reply(250, ("Grüße, 世界".encode(), b"\xff")).text == "Grüße, 世界 \\xff"


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J", "\r\n", "\0", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\u202e",
        "\u2066", "\u200f", "\ufeff", "\ufffe", "\U000e0041",
    ],
)  # fmt: skip
def test_text_contains_nothing_that_disturbs_a_terminal_or_a_log(hostile):
    text = Reply(550, (f"before{hostile}after".encode(),)).text
    assert text.isprintable()
    assert text.startswith("before ")


@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), max_size=4))
def test_text_is_one_line_whatever_the_server_sends(lines):
    text = Reply(550, tuple(lines)).text
    assert len(text.splitlines()) <= 1
    assert text == text.strip()


def test_text_is_bounded_and_message_is_whole():
    reply = Reply(550, (b"x" * 8000,) * 30)
    assert len(reply.text) < 2100
    assert reply.text.endswith(" ...")
    assert len(reply.message) == 30 * 8001 - 1


def test_one_line_leaves_ordinary_text_alone():
    assert one_line("Ein Gruß, 世界 😀") == "Ein Gruß, 世界 😀"


@pytest.mark.parametrize("value", [Reply(250, (b"a", b"b")), EnhancedStatus(2, 0, 0)])
def test_values_are_equal_hashable_and_survive_pickling_and_copying(value):
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):  # noqa: S301
        assert (twin, hash(twin)) == (value, hash(value))
