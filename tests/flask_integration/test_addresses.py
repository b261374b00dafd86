"""Addresses: parsed as people write them; none is lost, none is invented."""

from __future__ import annotations

import email
import email.policy
import email.utils
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_integration import (
    Message,
    force_text,
    sanitize_address,
    sanitize_addresses,
    sanitize_subject,
)
from flask_integration.addresses import _LENIENT, _USUAL, _pairs, bare_addresses, display
from mailbackends import InvalidAddressError


@pytest.mark.parametrize(
    ("given_address", "header"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada <ada@example.com>", "Ada <ada@example.com>"),
        (("Ada", "ada@example.com"), "Ada <ada@example.com>"),
        (("", "ada@example.com"), "ada@example.com"),
        (("Love, Ada", "ada@example.com"), '"Love, Ada" <ada@example.com>'),
        (("Ädä", "ada@example.com"), "=?utf-8?b?w4Rkw6Q=?= <ada@example.com>"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada\r\n@example.com", "ada@example.com"),
        ("Ädä <ada@example.com>>", "=?utf-8?b?w4Rkw6Q=?= <ada@example.com>"),
    ],
)
def test_an_address_becomes_a_header_value(
    given_address: str | tuple[str, str], header: str
) -> None:
    assert sanitize_address(given_address) == header


def test_addresses_keep_their_order() -> None:
    addresses: list[str | tuple[str, str]] = [
        "b@example.com",
        ("A", "a@example.com"),
        "c@example.com",
    ]
    assert sanitize_addresses(addresses) == ["b@example.com", "A <a@example.com>", "c@example.com"]


def test_a_name_is_written_in_the_requested_charset() -> None:
    assert sanitize_address(("送信者", "a@example.com"), "shift_jis").startswith("=?iso-2022-jp?")


def test_a_name_that_the_charset_cannot_encode_is_written_in_utf_8() -> None:
    assert sanitize_address(("送信者", "a@example.com"), "latin-1").startswith("=?utf-8?")
    assert sanitize_subject("送信者", "no such charset").startswith("=?utf-8?")


def test_a_subject_in_ascii_stays_as_it_is() -> None:
    assert sanitize_subject("Hello") == "Hello"
    assert sanitize_subject("Grüße") == "=?utf-8?b?R3LDvMOfZQ==?="


def test_force_text_accepts_bytes_and_lazy_strings() -> None:
    class Lazy:
        def __str__(self) -> str:
            return "later"

    assert force_text(b"Gr\xc3\xbc\xc3\x9fe") == "Grüße"
    assert force_text(Lazy()) == "later"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("ada@example.com", ["ada@example.com"]),
        ("a@example.com, b@example.com", ["a@example.com", "b@example.com"]),
        ('"Love, Ada" <ada@example.com>', ["ada@example.com"]),
        (("Love, Ada", "ada@example.com"), ["ada@example.com"]),
        ("ada@[192.0.2.1]", ["ada@[192.0.2.1]"]),
        ("root", ["root"]),
        ('"a b"@example.com', ['"a b"@example.com']),
        ("用户@例子.example", ["用户@例子.example"]),
    ],
)
def test_valid_addresses_go_into_the_envelope(
    value: str | tuple[str, str], found: list[str]
) -> None:
    assert bare_addresses([value], "recipient") == found


@pytest.mark.parametrize(
    "value",
    [
        "",
        "no address",
        "Love, Ada <ada@example.com>",
        "@example.com",
        "ada@",
        "a b@example.com",
        "ada@@example.com",
        "a@b@example.com",
        ("Ada", ""),
        ("Ada", None),
        ("Ada", "ada@example.com", "more"),
        None,
        "ada@example.com\r\nRCPT TO:<eve@example.com>",
        "ada@example.com\n",
        ("Ada\r\nBcc: eve@example.com", "ada@example.com"),
        "ada@exa\x00mple.com",
    ],
)
def test_an_invalid_address_is_reported_with_its_value_and_a_suggestion(value: object) -> None:
    with pytest.raises(InvalidAddressError) as caught:
        bare_addresses([value], "recipient")  # type: ignore[list-item]
    assert repr(value) in str(caught.value)
    assert "recipient" in str(caught.value)


# What a display name may be: no controls, no lone surrogates, no space at its ends or twice.
names = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=60
).map(lambda text: " ".join(text.split(" ")).strip().replace("  ", " "))
locals_ = st.from_regex(r"[a-z][a-z0-9.+-]{0,60}[a-z0-9]", fullmatch=True).filter(
    lambda text: ".." not in text
)


@given(st.lists(st.tuples(names, locals_), min_size=1, max_size=6, unique_by=lambda pair: pair[1]))
def test_names_and_addresses_arrive_as_they_were_given(people: list[tuple[str, str]]) -> None:
    addresses = [(name, f"{local}@example.com") for name, local in people]
    message = Message("Hello", list(addresses), body="Hi", sender=addresses[0])
    raw = message.as_bytes()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert [a.addr_spec for a in parsed["To"].addresses] == [spec for _, spec in addresses]
    assert [a.addr_spec for a in parsed["From"].addresses] == [addresses[0][1]]
    assert bare_addresses([display(a) for a in addresses], "recipient") == [
        spec for _, spec in addresses
    ]


def test_a_non_ascii_domain_is_encoded_without_the_idna_package_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)
    assert sanitize_address("ada@bücher.example") == "ada@xn--bcher-kva.example"
    # What has no such form stays, and is refused when it is sent.
    too_long = "ü" * 80
    assert sanitize_address(f"ada@{too_long}.example") == f"ada@{too_long}.example"


@given(
    st.one_of(
        st.from_regex(_USUAL, fullmatch=True),
        st.text(st.sampled_from('aö1_.+-@<>",;:()\\[] \t'), max_size=20),
    )
)
def test_the_fast_path_for_common_addresses_agrees_with_the_parser(text: str) -> None:
    found = email.utils.getaddresses([text], **_LENIENT)
    assert _pairs(text) == [pair for pair in found if pair != ("", "")]
