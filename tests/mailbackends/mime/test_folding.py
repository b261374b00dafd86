"""Header fields: what was folded is read as what was given."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address, Group
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, compat32, default
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.fields import address_field, text_field
from mailbackends.mime.folding import CheckedCompat32, CheckedPolicy, checked_policy, header_line

POLICY = checked_policy(SMTP)
NARROW = checked_policy(SMTP, max_line_length=40)
LEGACY = checked_policy(compat32, linesep="\r\n")


def stored(name: str, value: Any) -> Any:
    """The header object that an application's assignment makes; None if it is refused."""
    try:
        return SMTP.header_store_parse(name, value)[1]
    except Exception:
        return None


def read(line: bytes, name: str) -> Any:
    """The header object that a recipient reads."""
    return message_from_bytes(line + b"\r\n", policy=default)[name]


def lines_of(line: bytes) -> list[bytes]:
    assert line.endswith(b"\r\n")
    lines = line[:-2].split(b"\r\n")
    assert all(re.match(rb"[ \t]*[^ \t]", part) for part in lines), lines
    assert all(re.match(rb"[ \t]", part) for part in lines[1:]), lines
    assert max(map(len, lines)) <= 998
    return lines


def unfolded(line: bytes) -> str:
    return line[:-2].decode().replace("\r\n", "").partition(":")[2].strip(" ")


def named(value: Any) -> list[tuple[str, str]]:
    return [(address.display_name, address.addr_spec) for address in value.addresses]


def names_in(line: bytes) -> list[str]:
    """The names in a line, decoded by RFC 2047, with their words apart.

    Some versions of `email.headerregistry` add spaces between the encoded words of a name.
    """
    names = [name for name, _ in getaddresses([unfolded(line)])]
    return [str(make_header(decode_header(name))) for name in names]


ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=120)
WORDS = st.one_of(
    ASCII,
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40),
    st.sampled_from(["=?utf-8?q?x?=", "=?", "?=", "Grüße", "日本語" * 30, "x" * 900]),
)
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


# --- Unstructured fields --------------------------------------------------------------------


@given(st.lists(ASCII, min_size=1, max_size=12).map(" ".join), st.sampled_from([POLICY, NARROW]))
def test_ascii_is_folded_at_spaces_and_never_encoded(text: str, policy: Any) -> None:
    if "=?" in text:
        return
    line = header_line(policy, "X-Token", stored("X-Token", text))
    lines_of(line)
    assert unfolded(line) == text


@settings(max_examples=400, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from([POLICY, NARROW]))
@example("a  b é  c", POLICY)
@example("é é", POLICY)
def test_any_text_is_read_as_it_was_given(text: str, policy: Any) -> None:
    value = stored("X-Token", text)
    line = header_line(policy, "X-Token", value)
    lines_of(line)
    assert line.isascii()
    # Some versions keep the space after a line end that follows the colon.
    assert str(read(line, "X-Token")).strip() == str(value)


@pytest.mark.parametrize("name", ["In-Reply-To", "References", "List-Unsubscribe"])
@pytest.mark.parametrize("before", ["", "<1@example.com> "])
def test_a_long_token_has_a_line_to_itself(name: str, before: str) -> None:
    token = f"<{'a' * 98}@example.com>"
    line = header_line(POLICY, name, stored(name, before + token))
    assert lines_of(line)[-1] == b" " + token.encode()
    assert unfolded(line) == before + token


def test_a_token_that_no_line_can_hold_is_encoded() -> None:
    text = "short " + "x" * 2000
    line = header_line(POLICY, "X-Token", stored("X-Token", text))
    assert max(map(len, lines_of(line))) <= 78
    assert str(read(line, "X-Token")) == text


def test_text_that_looks_like_an_encoded_word_is_shown_as_it_is() -> None:
    given = "=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?="
    value = stored("Subject", given)
    assert str(value) == "=?utf-8?q?x?="
    assert str(read(header_line(POLICY, "Subject", value), "Subject")) == "=?utf-8?q?x?="


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_only_cr_and_lf_end_a_line(character: str) -> None:
    text = f"before{character}after"
    for policy in (POLICY, LEGACY):
        line = header_line(policy, "Subject", text)
        assert len(lines_of(line)) == 1
        assert read(line, "Subject").encode().decode() == text


@given(TEXTS)
def test_text_written_without_an_object_is_the_same(text: str) -> None:
    value = stored("X-Token", text)
    assert text_field("X-Token", text) == header_line(POLICY, "X-Token", value)


# --- Addresses ------------------------------------------------------------------------------

NAMES = st.one_of(
    st.text('ab"\\,;:<>@()[].=?é _', max_size=30).map(str.strip),
    TEXTS,
    st.sampled_from(
        [
            "Some Very Long Company Name, Incorporated, With A Lot Of Departments (Sales)",
            "x, ceo@victim.example, y",
            "=?x <ceo@victim.example>,",
            "=?utf-8?q?ceo=40victim=2Eexample=2C?=",
            "ceo@victim.example",
            "<ceo@victim.example>",
            "a: b@c.example;",
            "(comment",
            '"',
            "\\",
        ]
    ),
)
SPECS = st.from_regex(r"[a-z.+]{1,12}@[a-z]{1,60}\.example", fullmatch=True)
MAILBOXES = st.builds(lambda name, spec: Address(name, *spec.split("@")), NAMES, SPECS)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(MAILBOXES, min_size=1, max_size=6), st.sampled_from([POLICY, NARROW, LEGACY]))
@example([Address("=?utf-8?q?ceo=40victim=2Eexample=2C?=", "u", "x.example")], POLICY)
def test_a_name_never_becomes_an_address(given: list[Address], policy: Any) -> None:
    value = stored("To", given)
    if value is None:
        return
    line = header_line(policy, "To", value)
    lines_of(line)
    assert line.isascii()
    specs = [address.addr_spec for address in value.addresses]
    assert [spec for _, spec in named(read(line, "To"))] == specs
    # Another reader: it knows no encoded words and takes the field apart by the legacy rules.
    assert [spec for _, spec in getaddresses([unfolded(line)])] == specs


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(MAILBOXES, min_size=1, max_size=4))
@example([Address("0 s<4.,q~i0b ~(> \u013a \u3590\u00cbk\u0109FD\u013f 5\\ 0", "a", "a.example")])
def test_names_are_read_as_they_were_given(given: list[Address]) -> None:
    value = stored("To", given)
    if value is None:
        return
    line = header_line(POLICY, "To", value)
    # White space at the ends of a name and between its words is not significant.
    assert [name.split() for name in names_in(line)] == [
        address.display_name.split() for address in value.addresses
    ]


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?x=2C_ceo=40victim=2Eexample=2C_y?= <sales@example.com>",
        "=?utf-8?q?ceo=40victim=2Eexample=2C_y?= <sales@example.com>",
        '"x, ceo@victim.example, y" <sales@example.com>',
        f'"{"Long Name, " * 20}" <sales@example.com>',
        f'"{"x" * 400}" <sales@example.com>',
        f'"{"x" * 4000}" <sales@example.com>',
    ],
)
@pytest.mark.parametrize("name", ["From", "Reply-To", "Sender", "Resent-To"])
def test_one_mailbox_stays_one(name: str, text: str) -> None:
    value = stored(name, text)
    line = header_line(POLICY, name, value)
    lines_of(line)
    assert getaddresses([unfolded(line)])[0][1] == "sales@example.com"
    assert len(getaddresses([unfolded(line)])) == 1
    assert names_in(line) == [value.addresses[0].display_name]


def test_groups_stay_groups() -> None:
    members = [Address("a, b", "a", "x.example"), Address("", "b", "y.example")]
    for group in (Group("täam", members), Group("the team", members), Group("no one", ())):
        value = stored("To", [group, Address("Z", "z", "x.example")])
        line = header_line(POLICY, "To", value)
        assert read(line, "To").groups == value.groups


def test_comments_are_kept() -> None:
    for text in ("ann@example.com (the boss)", "ann@example.com (Köln)"):
        line = header_line(POLICY, "To", stored("To", text))
        assert named(read(line, "To")) == [("", "ann@example.com")]
    assert header_line(POLICY, "To", stored("To", "a@x (the boss)")) == b"To: a@x (the boss)\r\n"
    assert b"K=C3=B6ln" in line or b"S8O2bG4" in line


def test_a_field_that_cannot_be_read_becomes_no_address() -> None:
    text = 'Jörg Müller, x@y.example" <sales@example.com>'
    line = header_line(POLICY, "Reply-To", stored("Reply-To", text))
    assert b"@" not in line


@given(st.lists(MAILBOXES, min_size=1, max_size=3))
def test_addresses_written_without_an_object_are_the_same(given: list[Address]) -> None:
    texts = list(map(str, given))
    value = stored("To", ", ".join(texts))
    if value is not None and ", ".join(texts).isprintable():
        assert address_field("To", texts) == header_line(POLICY, "To", value)


def test_utf8_is_left_with_smtputf8_only() -> None:
    message = EmailMessage(policy=SMTPUTF8)
    message["To"] = "Jörg <j@example.com>"
    utf8 = header_line(checked_policy(SMTPUTF8), "To", message["To"])
    assert utf8 == "To: Jörg <j@example.com>\r\n".encode()
    assert header_line(POLICY, "To", message["To"]).isascii()


# --- Parameters -----------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=150).map(str.strip))
@example('quoted "name".pdf')
@example("back\\slash.pdf")
@example("long name " * 20 + ".pdf")
@example("日本語" * 40)
@example("100%.pdf")
@example("it's*.pdf")
def test_a_file_name_is_read_as_it_was_given(name: str) -> None:
    # The email package's get_filename() strips these as if they were quotes.
    assume(not (name.startswith("<") and name.endswith(">")))
    message = EmailMessage(policy=SMTP)
    try:
        message.add_header("Content-Disposition", "attachment", filename=name)
    except ValueError:
        return  # the email package takes some characters for line ends
    value: Any = message["Content-Disposition"]
    line = header_line(POLICY, "Content-Disposition", value)
    lines_of(line)
    assert line.isascii()
    parsed = message_from_bytes(line + b"\r\n", policy=default)
    assert parsed.get_filename() == value.params["filename"]


# --- Fields as they were parsed or set by the legacy policy ----------------------------------


@pytest.mark.parametrize("rules", [default, compat32])
@pytest.mark.parametrize(
    "field",
    [
        b"Subject: a subject that is longer than seventy-eight characters, in a single line, as is",
        b"Subject: odd\r\n   folding\r\n\tkept",
        b"X-Token: " + b"x" * 900,
        b"To: a@example.com,\r\n\tb@example.com,c@example.com",
        b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=" + b"x" * 100 + b"\r\n\t y",
        b"Subject: =?iso-8859-1?Q?caf=E9?=  =?iso-8859-1?q?x?=",
        b"Subject: caf\xe9",
    ],
)
def test_a_parsed_field_is_written_as_it_was(rules: Any, field: bytes) -> None:
    message = message_from_bytes(field + b"\r\n\r\n", policy=rules)
    [(name, value)] = message.raw_items()
    policy = checked_policy(rules, keeps_source=True, linesep="\r\n")
    assert header_line(policy, name, value) == field + b"\r\n"


def test_a_long_legacy_field_is_folded_and_not_encoded() -> None:
    text = "<1@example.com> " * 10
    line = header_line(LEGACY, "References", text.strip())
    assert max(map(len, lines_of(line))) <= 78
    assert unfolded(line) == text.strip()


def test_a_legacy_address_field_has_its_names_encoded() -> None:
    line = header_line(LEGACY, "To", 'Jörg <j@example.com>, "a, b@c.example" <d@example.com>')
    assert line == (
        b'To: =?utf-8?b?SsO2cmc=?= <j@example.com>, "a, b@c.example" <d@example.com>\r\n'
    )


def test_a_lazy_string_is_the_string() -> None:
    class Lazy:
        def __str__(self) -> str:
            return "Grüße"

    assert header_line(LEGACY, "Subject", Lazy()) == b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"


def test_an_address_that_no_line_can_hold_is_refused() -> None:
    value = stored("Reply-To", f"{'x' * 1000}@example.com")
    with pytest.raises(InvalidMessageError, match=r"Reply-To cannot be folded .* shorten it"):
        header_line(POLICY, "Reply-To", value)


# --- Policies -------------------------------------------------------------------------------


def test_a_policy_keeps_its_settings_and_its_class() -> None:
    class Mine(type(SMTP)): ...  # type: ignore[misc]

    given = SMTP.clone(max_line_length=50, utf8=True, refold_source="all")
    policy = checked_policy(given, cte_type="7bit")
    assert isinstance(policy, CheckedPolicy)
    assert (policy.max_line_length, policy.utf8, policy.refold_source) == (50, True, "all")
    assert (policy.cte_type, policy.header_factory) == ("7bit", given.header_factory)
    assert isinstance(checked_policy(compat32), CheckedCompat32)
    assert type(checked_policy(Mine())) is Mine
