"""OAUTHBEARER and XOAUTH2: the examples, refused tokens, fresh tokens."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.protocol.sasl import (
    Credentials,
    OAuthBearer,
    SASLCredentialsError,
    SASLServerError,
    XOAuth2,
)


def with_token(token, username="user@example.com", **more):
    return Credentials(username, token_provider=lambda: token, **more)


def test_oauthbearer_example_of_rfc_7628_section_4_1_but_for_host_and_port():
    example = base64.b64decode(
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVy"
        "IHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    credentials = with_token("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    response = OAuthBearer(credentials).initial_response()
    assert response == re.sub(rb"(host|port)=[^\x01]+\x01", b"", example)


def test_xoauth2_example_of_google():
    credentials = with_token(
        "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "someuser@example.com"
    )
    assert base64.b64encode(XOAuth2(credentials).initial_response()) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNr"
        b"QmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )


@pytest.mark.parametrize(("mechanism", "answer"), [(OAuthBearer, b"\x01"), (XOAuth2, b"")])
def test_a_refused_token_is_answered_once_so_that_the_535_comes(mechanism, answer):
    exchange = mechanism(with_token("t0ken"))
    exchange.initial_response()
    assert exchange.refusal is None
    reason = b'{"status":"invalid_token","scope":"smtp"}'
    assert exchange.respond(reason) == answer
    assert exchange.refusal == reason
    with pytest.raises(SASLServerError, match="beyond its end"):
        exchange.respond(reason)


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
def test_the_provider_is_called_once_for_each_attempt_and_not_before(mechanism):
    tokens = iter(["stale", "fresh"])
    credentials = Credentials("user", token_provider=lambda: next(tokens))
    first, second = mechanism(credentials), mechanism(credentials)
    assert b"Bearer stale\x01" in first.initial_response()
    first.respond(b"{}")
    assert b"Bearer fresh\x01" in second.respond(b"")


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
@pytest.mark.parametrize("token", ["", "a b", "a\x01user=root", "a\n", "tök", None, b"bytes"])
def test_a_token_that_could_break_out_of_its_field_is_refused(mechanism, token):
    with pytest.raises(SASLCredentialsError, match="no usable token"):
        mechanism(with_token(token)).initial_response()


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
def test_without_a_provider_there_is_no_token(mechanism):
    with pytest.raises(SASLCredentialsError, match="no usable token"):
        mechanism(Credentials("user", "secret")).initial_response()


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
def test_an_exception_of_the_provider_reaches_the_caller(mechanism):
    def offline():
        raise ConnectionError("the token server is away")

    with pytest.raises(ConnectionError, match="away"):
        mechanism(Credentials("user", token_provider=offline)).initial_response()


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
def test_a_user_name_cannot_break_out_of_its_field(mechanism):
    asked = []
    credentials = Credentials("u\x01auth=Bearer x", token_provider=lambda: asked.append(1) or "t")
    with pytest.raises(SASLCredentialsError, match="a control character"):
        mechanism(credentials).initial_response()
    assert asked == []


def test_the_mailbox_is_the_authorization_identity_if_there_is_one():
    credentials = with_token("t", authorization_identity="shared@example.com")
    assert OAuthBearer(credentials).initial_response().startswith(b"n,a=shared@example.com,\x01")
    assert XOAuth2(credentials).initial_response().startswith(b"user=shared@example.com\x01")


def test_oauthbearer_may_leave_the_user_to_the_token():
    assert OAuthBearer(with_token("t", None)).initial_response() == b"n,,\x01auth=Bearer t\x01\x01"


def test_xoauth2_needs_a_user_name():
    with pytest.raises(SASLCredentialsError, match="the user name is empty"):
        XOAuth2(with_token("t", None)).initial_response()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_the_header_of_oauthbearer_has_two_commas_whatever_the_user_name(username):
    response = OAuthBearer(with_token("t", username)).initial_response()
    header, _, rest = response.partition(b"\x01")
    flag, identity, end = header.split(b",")
    assert (flag, end, rest) == (b"n", b"", b"auth=Bearer t\x01\x01")
    written = identity.removeprefix(b"a=").decode()
    assert written.replace("=2C", ",").replace("=3D", "=") == username
