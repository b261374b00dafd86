"""PLAIN, LOGIN, CRAM-MD5 and EXTERNAL: the RFCs' examples, and other cases."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.protocol.sasl import (
    CramMD5,
    Credentials,
    External,
    Login,
    Plain,
    SASLCredentialsError,
    SASLRestartError,
    SASLServerError,
)

TIM = Credentials("tim", "tanstaaftanstaaf")
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


def test_plain_examples_of_rfc_4616_section_4():
    assert Plain(TIM).initial_response() == b"\0tim\0tanstaaftanstaaf"
    acting = Credentials("Kurt", "xipj3plmq", authorization_identity="Ursel")
    assert Plain(acting).initial_response() == b"Ursel\0Kurt\0xipj3plmq"


def test_plain_example_of_rfc_4954_section_4_1():
    credentials = Credentials("test", "1234", authorization_identity="test")
    response = Plain(credentials).initial_response()
    assert base64.b64encode(response) == b"dGVzdAB0ZXN0ADEyMzQ="


def test_plain_without_initial_response_answers_the_empty_challenge():
    assert Plain(TIM).respond(b"") == b"\0tim\0tanstaaftanstaaf"


def test_plain_sends_its_message_once():
    plain = Plain(TIM)
    plain.initial_response()
    with pytest.raises(SASLServerError, match="PLAIN beyond its end"):
        plain.respond(b"")


def test_plain_sends_other_scripts_unchanged_as_utf_8():
    message = Plain(Credentials("u\u0308", "m\u00b2\u2168")).initial_response()
    assert message == "\0u\u0308\0m\u00b2\u2168".encode()


@given(printable, printable)
def test_plain_contains_exactly_two_nuls(username, password):
    response = Plain(Credentials(username, password)).initial_response()
    assert response.split(b"\0") == [b"", username.encode(), password.encode()]


@pytest.mark.parametrize("mechanism", [Plain, Login, CramMD5])
@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (Credentials("", "secret"), "the user name is empty"),
        (Credentials("user", ""), "the password is empty"),
        (Credentials(), "is empty"),
        (Credentials("us\0er", "secret"), "the user name contains a NUL"),
        (Credentials("user", "sec\0ret"), "the password contains a NUL"),
        (Credentials("user", "\ud800"), "the password contains a surrogate"),
    ],
)
def test_unusable_credentials_are_found_before_anything_is_sent(mechanism, credentials, reason):
    with pytest.raises(SASLCredentialsError, match=reason):
        mechanism(credentials).initial_response()


def test_an_authorization_identity_is_prepared():
    credentials = Credentials("tim", "secret", authorization_identity="\u2168\u00ad")
    assert Plain(credentials).initial_response() == b"IX\0tim\0secret"


@pytest.mark.parametrize("identity", ["a\0b", "a\x01b", "\u00ad"])
@pytest.mark.parametrize("mechanism", [Plain, External])
def test_an_authorization_identity_that_cannot_be_prepared_is_refused(mechanism, identity):
    credentials = Credentials("tim", "secret", authorization_identity=identity)
    with pytest.raises(SASLCredentialsError, match="the authorization identity"):
        mechanism(credentials).initial_response()


def test_login_sends_the_user_name_with_the_command_and_the_password_when_asked():
    login = Login(TIM)
    assert login.initial_response() == b"tim"
    assert login.respond(b"Password:") == b"tanstaaftanstaaf"
    login.finish()


def test_login_without_initial_response_answers_both_prompts():
    login = Login(TIM)
    assert [login.respond(b"User Name\0"), login.respond(b"Password\0")] == [
        b"tim",
        b"tanstaaftanstaaf",
    ]


def test_login_repeats_the_user_name_for_a_server_that_ignored_it():
    login = Login(TIM)
    login.initial_response()
    assert login.respond(b"Username:") == b"tim"
    assert login.respond(b"Password:") == b"tanstaaftanstaaf"


@pytest.mark.parametrize("prompt", [b"", b"\xff", b"Benutzername:", b"Kennwort:"])
def test_login_starts_again_if_it_is_not_clear_what_the_server_asks_for(prompt):
    login = Login(TIM)
    login.initial_response()
    with pytest.raises(SASLRestartError):
        login.respond(prompt)


@pytest.mark.parametrize("prompt", [b"", b"\xff", b"Benutzername:", b"Password:", b"Username:"])
def test_login_without_an_initial_response_sends_user_name_and_password_whatever_it_is_asked(
    prompt,
):
    login = Login(TIM)
    assert login.respond(prompt) == b"tim"
    assert login.respond(prompt) == b"tanstaaftanstaaf"


def test_login_sends_the_password_to_a_prompt_that_has_both_words():
    login = Login(TIM)
    login.initial_response()
    assert login.respond(b"User password:") == b"tanstaaftanstaaf"


def test_login_ends_however_often_it_is_asked():
    login = Login(TIM)
    login.initial_response()
    login.respond(b"Username:")
    login.respond(b"Username:")
    with pytest.raises(SASLServerError, match="LOGIN beyond its end"):
        login.respond(b"Username:")


def test_cram_md5_example_of_rfc_2195_section_2():
    cram = CramMD5(TIM)
    assert cram.initial_response() is None
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram.respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    cram.finish()


def test_cram_md5_may_begin_with_the_challenge():
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert CramMD5(TIM).respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"


@given(st.binary(min_size=1, max_size=200))
def test_cram_md5_is_a_digest_of_any_challenge(challenge):
    digest = hmac.new(b"tanstaaftanstaaf", challenge, "md5").hexdigest()
    assert CramMD5(TIM).respond(challenge) == f"tim {digest}".encode()


def test_cram_md5_refuses_an_empty_challenge_and_a_second_one():
    with pytest.raises(SASLServerError, match="challenge is empty"):
        CramMD5(TIM).respond(b"")
    cram = CramMD5(TIM)
    cram.respond(b"<1@x>")
    with pytest.raises(SASLServerError, match="beyond its end"):
        cram.respond(b"<2@x>")


def test_external_sends_the_authorization_identity_or_nothing():
    assert External(Credentials()).initial_response() == b""
    assert External(Credentials(authorization_identity="fred")).initial_response() == b"fred"


@pytest.mark.parametrize("mechanism", [Plain, Login, CramMD5, External])
def test_a_mechanism_serves_one_attempt(mechanism):
    used = mechanism(TIM)
    used.initial_response()
    with pytest.raises(RuntimeError, match="fresh one"):
        used.initial_response()
