"""Header fields: none becomes two, and an address in them can be answered to."""

import copy
import re
from email import message_from_bytes, policy
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mime.content import from_message
from mailbackends.mime.headers import (
    check_headers,
    field_that_needs_utf8,
    outgoing_fields,
)

KINDS = [EmailMessage, Message]


def with_field(name, value, kind=Message):
    made = kind()
    made[name] = value
    return made


def as_it_goes_out(made, utf8=False):
    before = made.items()
    going = copy.copy(made)
    going._headers = outgoing_fields(made, utf8=utf8)
    assert made.items() == before
    return going


# --- what may stand in a field --------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "",
        "Grüße",
        "folded\r\n here",
        "folded\n\there",
        "folded\r here",
        "a\tb",
        "\u2028 is encoded",
        "\x85 too",
        Header("Grüße", "utf-8"),
    ],
)
def test_values_that_stay_one_field_are_accepted(value):
    check_headers(with_field("Subject", value))


@pytest.mark.parametrize(
    "value",
    [
        "x\r\nBcc: a@evil.example",
        "x\nBcc: a@evil.example",
        "x\rBcc: a@evil.example",
        "x\r\n\r\nbody",
        "x\n",
        "x\r",
        "x\r\n y\nz: 1",
        "x\r\r\n y",
        # The email package folds at these, too.
        *(f"x{character}Bcc: a@evil.example" for character in "\x0b\x0c\x1c\x1d\x1e"),
        Header("x\nBcc: a@evil.example"),
    ],
)
def test_a_value_that_would_become_two_fields_is_refused(value):
    made = with_field("Subject", value)
    with pytest.raises(InvalidMessageError, match="the header field Subject contains a line break"):
        check_headers(made)


@pytest.mark.parametrize("name", ["", "Sub ject", "X:Y", "X\r\nBcc", "Größe", "X\0"])
def test_an_invalid_field_name_is_refused(name):
    made = Message()
    made._headers.append((name, "x"))
    with pytest.raises(InvalidMessageError, match="not a valid name of a header field"):
        check_headers(made)


def test_the_fields_of_each_part_are_checked():
    made = MIMEMultipart()
    made.attach(with_field("X-Inner", "a\nb"))
    with pytest.raises(InvalidMessageError, match="X-Inner"):
        check_headers(made)


def test_a_message_whose_parts_cannot_be_read_is_refused():
    made = Message()
    made._payload = ["no message"]
    with pytest.raises(InvalidMessageError, match="cannot be read"):
        check_headers(made)


@given(st.text(st.characters(max_codepoint=0x2030), max_size=20))
def test_a_value_that_passes_the_check_is_sent_as_one_field(value):
    made = with_field("X-Test", f"a{value}")
    made.set_payload("body")
    try:
        check_headers(made)
        sent = b"".join(from_message(made).chunk())
    except InvalidMessageError:
        return
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b"body\r\n"
    assert all(re.match(rb"X-Test: |[ \t]", line) for line in head.split(b"\r\n"))


# --- addresses ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["From", "Sender", "Reply-To", "To", "Cc", "Resent-To"])
def test_a_local_part_that_is_not_ascii_needs_utf8(kind, field):
    assert field_that_needs_utf8(with_field(field, "jörg@x.example", kind)) == field
    assert field_that_needs_utf8(with_field(field, "a@x.example, <jörg>", kind)) == field


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("From", "Jörg <a@x.example>"),
        ("From", "a@bücher.example"),
        ("Subject", "jörg@x.example"),
        ("Reply-To", "jörg at home"),
        ("To", ""),
    ],
)
def test_other_fields_do_not_need_utf8(kind, field, value):
    assert field_that_needs_utf8(with_field(field, value, kind)) is None


def test_utf8_in_a_parsed_message_is_detected_if_the_policy_keeps_it():
    data = b"To: j\xc3\xb6rg@x.example\r\n\r\n"
    assert field_that_needs_utf8(message_from_bytes(data, policy=policy.default)) == "To"
    # The legacy policy knows only that something had been there.
    assert field_that_needs_utf8(message_from_bytes(data)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("Ann <a@bücher.example>", "Ann <a@xn--bcher-kva.example>"),
        ('"Doe, Ann" <a@bücher.example>', '"Doe, Ann" <a@xn--bcher-kva.example>'),
        ("a@bücher.example, b@x.example", "a@xn--bcher-kva.example, b@x.example"),
        ("a@x.example", "a@x.example"),
    ],
)
def test_domains_are_written_as_a_labels(kind, value, written):
    made = with_field("Reply-To", value, kind)
    made = as_it_goes_out(made)
    assert str(made["Reply-To"]) == written


@pytest.mark.parametrize("kind", KINDS)
def test_display_names_are_encoded_and_addresses_are_not(kind):
    made = with_field("From", "Jörg <a@bücher.example>", kind)
    made = as_it_goes_out(made)
    sent = made.as_bytes().decode("ascii")
    assert re.match(r"From: =\?utf-8\?.+\?= <a@xn--bcher-kva\.example>\n", sent)


def test_the_legacy_policy_encodes_names_only_although_the_address_is_ascii():
    made = with_field("From", "Jörg <a@x.example>")
    made = as_it_goes_out(made)
    assert made.as_bytes().startswith(b"From: =?utf-8?b?SsO2cmc=?= <a@x.example>\n")


def test_a_field_without_an_international_domain_is_not_changed():
    made = with_field("From", "Jörg <a@x.example>", EmailMessage)
    assert as_it_goes_out(made)["From"] is made["From"]


def test_a_group_stays_a_group():
    made = with_field("Reply-To", "team: a@bücher.example, b@x.example;", EmailMessage)
    made = as_it_goes_out(made)
    assert str(made["Reply-To"]) == "team: a@xn--bcher-kva.example, b@x.example;"


def test_a_parsed_message_is_rewritten_as_well():
    data = "Reply-To: Jörg <a@bücher.example>\r\n\r\n".encode()
    made = message_from_bytes(data, policy=policy.default)
    made = as_it_goes_out(made)
    assert str(made["Reply-To"]) == "Jörg <a@xn--bcher-kva.example>"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Subject", "a@bücher.example"),
        ("Reply-To", "bücher at home"),
        ("Reply-To", "jörg@x.example"),
        ("Reply-To", Header("a@bücher.example", "utf-8")),
    ],
)
def test_fields_without_an_international_address_are_not_changed(field, value):
    made = with_field(field, value)
    made = as_it_goes_out(made)
    assert str(made[field]) == str(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_domain_that_is_too_long_is_refused(kind):
    made = with_field("Reply-To", f"a@{'ü' * 64}.example", kind)
    with pytest.raises(InvalidAddressError):
        outgoing_fields(made, utf8=False)


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_fields_keep_their_order(kind):
    made = kind()
    for number in (1, 2, 3):
        made["Resent-To"] = f"a{number}@bücher.example"
    made = as_it_goes_out(made)
    assert [str(value) for value in made.get_all("Resent-To")] == [
        f"a{number}@xn--bcher-kva.example" for number in (1, 2, 3)
    ]


def test_legacy_header_objects_become_their_text():
    made = with_field("Subject", Header("Grüße", "utf-8"))
    made["To"] = "a@x.example"
    made = as_it_goes_out(made, utf8=True)
    assert made.items() == [("Subject", "Grüße"), ("To", "a@x.example")]
