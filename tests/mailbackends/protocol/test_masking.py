"""No secret is shown in commands, or in replies that quote them."""

import base64

import pytest

from mailbackends.protocol.masking import Masking, masked_line, secrets_in
from mailbackends.reply import Reply


def encoded(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = encoded("\0alice\0correct horse")


def masking(*responses):
    made = Masking()
    made.exempt("alice", None)
    for response in responses:
        made.remember(response)
    return made


@pytest.mark.parametrize(
    ("line", "shown", "secrets"),
    [
        (f"AUTH PLAIN {PLAIN}", "AUTH PLAIN ***", [PLAIN]),
        ("auth login dXNlcg== trailing", "auth login ***", ["dXNlcg== trailing"]),
        (f"NOOP\r\nAUTH PLAIN {PLAIN}\r\n", "NOOP\r\nAUTH PLAIN ***\r\n", [PLAIN]),
        ("AUTH LOGIN", "AUTH LOGIN", []),
        ("MAIL FROM:<auth@example.com>", "MAIL FROM:<auth@example.com>", []),
    ],
)
def test_only_the_argument_after_the_mechanism_of_auth_is_masked(line, shown, secrets):
    assert masked_line(line) == shown
    assert secrets_in(line) == secrets


def test_a_response_to_a_challenge_is_masked_as_a_whole():
    assert masked_line("c2VjcmV0\r\n", is_response=True) == "***\r\n"
    assert secrets_in("c2VjcmV0", is_response=True) == ["c2VjcmV0"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"5.5.4 Cannot decode AUTH parameter: {PLAIN}", "5.5.4 Cannot decode AUTH parameter: ***"),
        (f"unknown command '{PLAIN[:20]}...'", "unknown command '***...'"),
        (f"UNKNOWN COMMAND {PLAIN.upper()}", "UNKNOWN COMMAND ***"),
        (f"unknown command ...{PLAIN[-12:]}", "unknown command ...***"),
        ("bad response \0alice\0correct horse", "bad response ***"),
        ("no user alice with password correct horse", "no user alice with password ***"),
        ("correct horse", "***"),
        ("the correct horses", "the ***s"),
        ("2.7.0 nothing of it is here", "2.7.0 nothing of it is here"),
        ("", ""),
    ],
)
def test_what_a_server_quotes_is_masked_in_base64_and_decoded(text, shown):
    assert masking(PLAIN).mask(text.encode()) == shown.encode()


@pytest.mark.parametrize(
    ("password", "text", "shown"),
    [
        ("abc", "user abc not found", "user *** not found"),
        ("abc", "abcdef is not abc", "abcdef is not ***"),
        ("ok", "smoky: token", "smoky: token"),
        ("paß", "535 paß?", "535 ***?"),
    ],
)
def test_a_short_password_is_masked_as_a_whole_word_only(password, text, shown):
    assert masking(encoded(password)).mask(text.encode()) == shown.encode()


@pytest.mark.parametrize(
    "response",
    [
        encoded("user=alice\1auth=Bearer ya29.token-0123\1\1"),
        encoded("n,a=alice,\1auth=Bearer ya29.token-0123\1\1"),
    ],
)
def test_an_oauth_token_is_masked(response):
    assert masking(response).mask(b"bad token YA29.token-0123 for alice") == (
        b"bad token *** for alice"
    )


def test_the_user_name_of_login_is_not_masked():
    made = masking(encoded("alice"), encoded("a password"))
    assert made.mask(b"alice: " + encoded("alice").encode()) == b"alice: YWxpY2U="
    assert made.mask(b"alice: a password") == b"alice: ***"
    assert made.mask(b"once more: a password") == b"once more: ***"


def test_a_response_that_is_not_base64_is_masked_as_it_is():
    assert masking("not base64 at all!").mask(b"500 NOT BASE64 AT ALL!") == b"500 ***"


def test_each_line_of_a_reply_is_masked_and_its_code_stays():
    reply = Reply(501, (b"cannot decode", PLAIN.encode(), b"sorry"))
    assert masking(PLAIN).masked(reply) == Reply(501, (b"cannot decode", b"***", b"sorry"))


def test_a_reply_that_quotes_nothing_is_returned_as_it_is():
    reply = Reply(250, (b"2.0.0 Ok: queued as 12345",))
    assert masking(PLAIN).masked(reply) is reply
    assert Masking().masked(reply) is reply
    assert Masking().mask(b"any text") == b"any text"


def test_nothing_of_a_masking_is_in_its_repr():
    assert "correct" not in repr(masking(PLAIN))
