"""Requests to servers, given in words, become parameters."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.protocol.delivery_options import delivery_options
from mailbackends.protocol.parameters import encode_utf8_address, encode_xtext


def mail(**wishes):
    options = delivery_options(**wishes)
    assert options["rcpt_options"] == ()
    return options["mail_options"]


def rcpt(**wishes):
    options = delivery_options(**wishes)
    assert options["mail_options"] == ()
    return options["rcpt_options"]


def test_without_options_there_are_no_parameters():
    assert delivery_options() == {"mail_options": (), "rcpt_options": ()}


@pytest.mark.parametrize(
    ("wishes", "options"),
    [
        ({"return_content": "full"}, ("RET=FULL",)),
        ({"return_content": "headers"}, ("RET=HDRS",)),
        ({"envelope_id": "order 4711+1=x"}, ("ENVID=order+204711+2B1+3Dx",)),
        ({"require_tls": True}, ("REQUIRETLS",)),
        ({"deliver_within": 120}, ("BY=120;R",)),
        ({"deliver_within": timedelta(hours=1), "when_late": "notify"}, ("BY=3600;N",)),
        ({"priority": -3}, ("MT-PRIORITY=-3",)),
        ({"priority": 0}, ("MT-PRIORITY=0",)),
        ({"hold": 60}, ("HOLDFOR=60",)),
        ({"hold": timedelta(days=1)}, ("HOLDFOR=86400",)),
        ({"hold": datetime(2027, 1, 1, tzinfo=UTC)}, ("HOLDUNTIL=2027-01-01T00:00:00Z",)),
        (
            {"hold": datetime(2027, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))},
            ("HOLDUNTIL=2027-01-01T00:00:00Z",),
        ),
        (
            {"return_content": "headers", "envelope_id": "1", "priority": 1},
            ("RET=HDRS", "ENVID=1", "MT-PRIORITY=1"),
        ),
    ],
)
def test_options_become_parameters_of_mail(wishes, options):
    assert mail(**wishes) == options


@pytest.mark.parametrize(
    ("wishes", "options"),
    [
        ({"notify": "never"}, ("NOTIFY=NEVER",)),
        ({"notify": "failure"}, ("NOTIFY=FAILURE",)),
        ({"notify": ["success", "delay"]}, ("NOTIFY=SUCCESS,DELAY",)),
        ({"original_recipient": "Ann <a+b@x>"}, ("ORCPT=rfc822;a+2Bb@x",)),
        ({"original_recipient": "jörg@x"}, ("ORCPT=utf-8;j\\x{F6}rg@x",)),
    ],
)
def test_options_become_parameters_of_rcpt(wishes, options):
    assert rcpt(**wishes) == options


@pytest.mark.parametrize(
    "wishes",
    [
        {"return_content": "some"},
        {"envelope_id": ""},
        {"envelope_id": "ö"},
        {"envelope_id": "a\r\nDATA"},
        {"envelope_id": "x" * 101},
        {"deliver_within": 0},
        {"deliver_within": -1},
        {"deliver_within": "soon"},
        {"when_late": "forget", "deliver_within": 1},
        {"priority": 10},
        {"priority": "high"},
        {"hold": 0},
        {"hold": timedelta(milliseconds=10)},
        {"hold": datetime(2027, 1, 1)},
        {"notify": []},
        {"notify": ["never", "failure"]},
        {"notify": ["often"]},
    ],
)
def test_an_invalid_option_is_refused(wishes):
    with pytest.raises(InvalidMessageError):
        delivery_options(**wishes)


def test_an_original_recipient_is_an_address():
    with pytest.raises(InvalidAddressError, match="original recipient"):
        delivery_options(original_recipient="a@x, b@x")


@given(st.text(st.characters(max_codepoint=127)))
def test_xtext_is_visible_ascii_and_can_be_decoded(text):
    encoded = encode_xtext(text)
    assert all("!" <= c <= "~" and c != "=" for c in encoded)
    assert unquote(encoded.replace("%", "%25").replace("+", "%")) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_address_of_any_characters_is_visible_ascii(text):
    encoded = encode_utf8_address(text)
    assert all("!" <= c <= "~" and c not in "+=" for c in encoded)
