"""Addresses taken from a field's text are those that its header object and the parser give."""

from __future__ import annotations

from email.headerregistry import Address, BaseHeader, Group, UniqueAddressHeader
from email.policy import SMTP, compat32
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError
from mailbackends.mime import address
from mailbackends.mime.address import addresses_in
from mailbackends.mime.folding import checked_policy, header_line

# Pieces of which fields are made, proper ones and others.
WORDS = ["Ann", "O'Neill", "{x}", "a.b", "a@x.example", "b@y", "<b@y.example>", "<>", "@", "ü"]
PIECES = [
    *(" ", "  ", ", ", ", ", ",", ";", ":", "<", ">", '"', "(c)", '"a b"', '"a@z"', "\t", "\\"),
    *("team: ", "undisclosed:;", "=?utf-8?q?Ann?=", "=?utf-8?q?a=2C_b?=", "=?x?=", "[1.2.3.4]"),
]
texts = st.lists(st.sampled_from(WORDS + PIECES), max_size=12).map("".join)

words = st.text("ab'{=?_.-Z9", min_size=1, max_size=6)
specs = st.builds("{}@{}.example".format, words, st.text("ab-9", min_size=1, max_size=5))
mailboxes = specs | st.builds("{} <{}>".format, st.lists(words, min_size=1).map(" ".join), specs)
lists = st.lists(mailboxes, min_size=1, max_size=12).map(", ".join)


def stored(name: str, value: Any) -> Any:
    try:
        return SMTP.header_store_parse(name, value)[1]
    except Exception:  # the parser's own faults
        return None


def in_full(value: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(address, "_plain_addresses", lambda value: None)
        return found(value)


def found(value: Any) -> Any:
    try:
        return addresses_in("To", value)
    except InvalidAddressError as error:
        return str(error)


@settings(max_examples=1000, deadline=None)
@given(text=texts | lists)
@example("a@x.example b@y.example")
@example("a@x.example <b@y.example>")
@example("=?utf-8?q?a?=@x.example")
@example("a@x.example, , b@y.example")
def test_plain_addresses_are_those_that_a_full_parse_finds(text: str) -> None:
    monkeypatch = pytest.MonkeyPatch()
    for name in ("To", "Sender", "Resent-To"):
        value = stored(name, text)
        if value is not None:
            assert found(value) == in_full(value, monkeypatch)
    assert found(text) == in_full(text, monkeypatch)


objects = st.builds(
    Address,
    st.sampled_from(["", "Ann", "Ann B", "a, b@x", "Ann <a@x>", "é"]),
    st.sampled_from(["", "a", "a b", "a.b", "a@x, b", "ä"]),
    st.sampled_from(["", "x.example", "x, b@y", "x> <b@y", "x>, B <b@y"]),
)
groups = st.builds(Group, st.sampled_from([None, "team", "a, b"]), st.lists(objects, max_size=2))


@given(st.lists(objects | groups, max_size=3))
@example([Address("", "a", "x, b@y")])
@example([Address("Ann", "a", "x>, B <b@y")])
def test_an_address_object_stays_one_address_whatever_it_holds(
    given: list[Address | Group],
) -> None:
    value = stored("To", given)
    if value is not None:
        assert found(value) == in_full(value, pytest.MonkeyPatch())


@pytest.mark.parametrize("text", ["a@x.example", "Ann Example <a@x.example>, b@y.example"])
def test_plain_addresses_are_read_without_a_parser(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = stored("To", text), text
    monkeypatch.setattr(Address, "addr_spec", property(lambda self: pytest.fail("asked")))
    monkeypatch.setattr(address, "getaddresses", lambda texts: pytest.fail("asked"))
    for value in values:
        assert found(value)[0] == "a@x.example"


class Redirected(UniqueAddressHeader, BaseHeader):
    """A header class of an application's own."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (Address("", "other", "x.example"),)

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: other@x.example{policy.linesep}"


def test_a_header_class_that_overrides_methods_is_asked() -> None:
    value = Redirected("To", "a@x.example")
    assert found(value) == ["other@x.example"]
    assert header_line(SMTP, "To", value) == b"To: other@x.example\r\n"


def test_a_header_class_from_the_registry_is_asked() -> None:
    policy = SMTP.clone(header_factory=type(SMTP.header_factory)())
    policy.header_factory.map_to_type("To", Redirected)
    value = policy.header_store_parse("To", "a@x.example")[1]
    assert found(value) == ["other@x.example"]
    assert header_line(policy, "To", value) == b"To: other@x.example\r\n"


# --- folded ---------------------------------------------------------------------------

POLICIES = [
    SMTP,
    SMTP.clone(max_line_length=40),
    SMTP.clone(utf8=True, cte_type="7bit"),
    compat32.clone(linesep="\r\n"),
]


@settings(max_examples=500, deadline=None)
@given(
    text=lists | texts,
    name=st.sampled_from(["To", "Cc", "Reply-To", "Resent-Cc"]),
    policy=st.sampled_from(POLICIES),
)
def test_a_folded_list_has_the_same_addresses(text: str, name: str, policy: Any) -> None:
    value = stored(name, text)
    if value is None:
        return
    line = header_line(policy, name, value).decode()
    again = stored(name, line.replace("\r\n", "").partition(":")[2].strip(" "))
    expected = found(value)
    if isinstance(expected, list) and "".join(expected).isascii():
        assert found(again) == expected


@pytest.mark.parametrize("first", range(60, 82))
@pytest.mark.parametrize("second", [5, 74, 76, 77, 78, 90])
def test_a_list_is_folded_after_commas_only(first: int, second: int) -> None:
    entries = [f"{'a' * (length - 2)}@x" for length in (first, second, 20, 20)]
    value = stored("To", ", ".join(entries))
    line = header_line(checked_policy(SMTP), "To", value)
    lines = line.decode().removesuffix("\r\n").split("\r\n")
    assert "".join(lines).removeprefix("To: ") == ", ".join(entries)
    assert all(line.endswith((",", "To:")) for line in lines[:-1])
    assert all(len(line) <= 78 or line.strip(" ,") in entries for line in lines)


@pytest.mark.parametrize("text", ["ada@example.com", "Ada King <ada@example.com>", "A <a@b.c-d.e>"])
def test_an_address_with_plain_words_before_it_needs_no_parser(text: str) -> None:
    # Python before 3.11.5 does not match a possessive group of which the last attempt fails.
    assert address.is_plain_mailbox(text)
    assert address.plain_address(text) == addresses_in("To", text)[0]
    assert address.PLAIN_LIST.fullmatch(f"{text}, {text}")


def test_a_long_list_that_is_not_plain_is_recognised_in_linear_time() -> None:
    # With a quadratic pattern this would take minutes.
    text = "Ada King <ada@example.com>, " * 40_000
    assert not address.PLAIN_LIST.fullmatch(text)
    assert not address.is_plain_mailbox("word " * 200_000)
