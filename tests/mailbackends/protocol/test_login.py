"""Logging in: each mechanism in turn, a token twice, and no secret is shown."""

import base64

import pytest

from mailbackends.errors import (
    SMTPAuthenticationError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPServerDisconnected,
)
from mailbackends.protocol import sasl
from mailbackends.protocol.dialogue import authenticate, login
from mailbackends.protocol.session import State
from support.runner import Runner, ready_session

SECRET = "hunter2-s3cr3t"
USER = sasl.Credentials("user", SECRET)
IN = b"235 2.7.0 Welcome\r\n"
WRONG = b"535 5.7.8 Wrong\r\n"


def encoded(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def challenge(text):
    return b"334 " + encoded(text) + b"\r\n"


def logging_in(mechanisms, replies, credentials=USER, allowed=None, **options):
    session = ready_session(f"AUTH {mechanisms}")
    runner = Runner(session, replies, **options)
    return session, runner, login(session, credentials, allowed)


def test_plain_takes_one_round_trip_with_its_initial_response():
    session, runner, dialogue = logging_in("PLAIN LOGIN", [IN])
    assert runner.run(dialogue).code == 235
    assert runner.lines == [b"AUTH PLAIN " + encoded(f"\0user\0{SECRET}")]
    assert session.is_reusable


def test_login_sends_the_user_name_and_then_the_password():
    _, runner, dialogue = logging_in("LOGIN", [challenge("Password:"), IN])
    runner.run(dialogue)
    assert runner.lines == [b"AUTH LOGIN " + encoded("user"), encoded(SECRET)]


def test_a_mechanism_in_which_the_server_sends_first_has_no_initial_response():
    _, runner, dialogue = logging_in("CRAM-MD5", [challenge("<1@x>"), IN])
    runner.run(dialogue)
    assert runner.lines[0] == b"AUTH CRAM-MD5"
    assert len(runner.lines) == 2


def test_after_a_refused_mechanism_the_next_one_is_tried():
    replies = [WRONG, b"504 no\r\n", IN]
    _, runner, dialogue = logging_in("LOGIN PLAIN SCRAM-SHA-256 NTLM", replies)
    runner.run(dialogue)
    tried = [line.split()[1] for line in runner.lines]
    assert tried == [b"SCRAM-SHA-256", b"PLAIN", b"LOGIN"]


def test_the_last_refusal_is_raised():
    _, runner, dialogue = logging_in("PLAIN LOGIN", [b"535 first\r\n", b"535 second\r\n"])
    with pytest.raises(SMTPAuthenticationError) as caught:
        runner.run(dialogue)
    assert (caught.value.smtp_code, caught.value.smtp_error) == (535, b"second")


def test_only_mechanisms_that_are_allowed_are_tried():
    _, runner, dialogue = logging_in("PLAIN LOGIN CRAM-MD5", [WRONG], allowed=["LOGIN"])
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    assert [line.split()[1] for line in runner.lines] == [b"LOGIN"]


def test_nothing_is_sent_to_a_server_without_auth():
    session = ready_session("SIZE 1000")
    runner = Runner(session)
    with pytest.raises(SMTPNotSupportedError, match="SMTP AUTH extension not supported"):
        runner.run(login(session, USER))
    assert runner.sent == b""


@pytest.mark.parametrize(
    ("is_tls", "hint"),
    [
        (False, "it offers STARTTLS, and logins only after it: set security='starttls'"),
        (True, "it offers STARTTLS: leave out username and password, or use the port"),
    ],
)
def test_the_error_of_a_server_without_auth_says_what_to_change(is_tls, hint):
    session = ready_session("STARTTLS")
    session.is_tls = is_tls
    with pytest.raises(SMTPNotSupportedError) as caught:
        Runner(session).run(login(session, USER))
    assert hint in str(caught.value.hint)


def test_nothing_is_sent_to_a_server_without_a_common_mechanism():
    _, runner, dialogue = logging_in("NTLM GSSAPI", [])
    with pytest.raises(SMTPNotSupportedError, match="No suitable authentication method"):
        runner.run(dialogue)
    assert runner.sent == b""


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "XOAUTH2 PLAIN"])
def test_a_421_ends_the_login_at_once(mechanisms):
    credentials = sasl.Credentials("user", SECRET, lambda: "token")
    session, runner, dialogue = logging_in(mechanisms, [b"421 bye\r\n"], credentials)
    with pytest.raises(SMTPAuthenticationError) as caught:
        runner.run(dialogue)
    assert (caught.value.smtp_code, len(runner.lines)) == (421, 1)
    assert session.state is State.CLOSED


# --- tokens ---------------------------------------------------------------------------


def tokens():
    """A provider, and the tokens that it gave."""
    given = []

    def provider():
        given.append(f"token{len(given) + 1}")
        return given[-1]

    return sasl.Credentials("user", token_provider=provider), given


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_the_token_provider_is_called_again_once_after_a_535(mechanism):
    credentials, given = tokens()
    replies = [challenge('{"status":"401"}'), WRONG, IN]
    _, runner, dialogue = logging_in(mechanism, replies, credentials)
    runner.run(dialogue)
    assert given == ["token1", "token2"]
    credentials, given = tokens()
    _, runner, dialogue = logging_in(mechanism, [WRONG] * 3, credentials)
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    assert given == ["token1", "token2"]


def test_a_token_provider_that_caches_tokens_is_told_of_a_refusal():
    class Keeping:
        calls = ""

        def __call__(self):
            self.calls += "token "
            return "token"

        def reject(self):
            self.calls += "reject "

    provider = Keeping()
    credentials = sasl.Credentials("user", token_provider=provider)
    _, runner, dialogue = logging_in("XOAUTH2", [WRONG, IN], credentials)
    runner.run(dialogue)
    assert provider.calls == "token reject token "


def test_the_token_provider_is_not_called_again_after_another_refusal():
    credentials, given = tokens()
    _, runner, dialogue = logging_in("XOAUTH2", [b"454 later\r\n"], credentials)
    with pytest.raises(SMTPAuthenticationError) as caught:
        runner.run(dialogue)
    assert (caught.value.smtp_code, given) == (454, ["token1"])


def test_after_a_token_that_cannot_be_sent_the_next_mechanism_is_tried():
    credentials = sasl.Credentials("user", SECRET, token_provider=lambda: "two words")
    _, runner, dialogue = logging_in("XOAUTH2 PLAIN", [IN], credentials)
    runner.run(dialogue)
    assert [line.split()[1] for line in runner.lines] == [b"PLAIN"]


def test_a_token_that_cannot_be_sent_is_the_error_if_no_mechanism_is_left():
    credentials = sasl.Credentials("user", token_provider=lambda: "two words")
    _, runner, dialogue = logging_in("XOAUTH2", [], credentials)
    with pytest.raises(SMTPAuthenticationError, match="no usable token"):
        runner.run(dialogue)
    assert runner.sent == b""


def test_a_long_token_waits_for_the_first_challenge_as_its_line_would_be_too_long():
    token = "x" * 9_500
    credentials = sasl.Credentials("user", token_provider=lambda: token)
    _, runner, dialogue = logging_in("XOAUTH2", [b"334 \r\n", IN], credentials)
    runner.run(dialogue)
    assert runner.lines[0] == b"AUTH XOAUTH2"
    assert runner.lines[1] == encoded(f"user=user\1auth=Bearer {token}\1\1")


def test_a_token_that_waited_for_the_challenge_is_sent_once():
    credentials = sasl.Credentials("user", token_provider=lambda: "x" * 9_500)
    replies = [b"334 \r\n", challenge('{"status":"401"}'), WRONG]
    _, runner, dialogue = logging_in("XOAUTH2", [*replies, *replies], credentials)
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    lengths = [len(line) for line in runner.lines]
    assert [length > 12_000 for length in lengths] == [False, True, False] * 2


@pytest.mark.parametrize("size", range(8_960, 8_990))
def test_no_auth_command_is_longer_than_rfc_4954_allows(size):
    credentials = sasl.Credentials("user", token_provider=lambda: "x" * size)
    _, runner, dialogue = logging_in("XOAUTH2", [], credentials)
    with pytest.raises(SMTPServerDisconnected):
        runner.run(dialogue)
    # RFC 4954 section 4: 12288 octets.
    assert len(runner.sent) <= 12_288


# --- servers that break the exchange --------------------------------------------------


def scram_opening(session):
    return login(session, USER, ["SCRAM-SHA-256"])


@pytest.mark.parametrize(
    "first",
    [
        b"334 !!!\r\n",
        challenge("r=other,s=QUJD,i=4096"),
        challenge("r="),
        challenge("m=x"),
        challenge(b"\xff"),
    ],
)
def test_a_broken_challenge_cancels_the_exchange_and_ends_the_session(first):
    session, runner, dialogue = logging_in("SCRAM-SHA-256 PLAIN", [first, b"501 cancelled\r\n"])
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    # It may be an impostor: PLAIN would show it the password.
    assert [line.split()[0] for line in runner.lines] == [b"AUTH", b"*"]
    assert session.state is State.CLOSED


def test_a_broken_challenge_is_the_error_even_if_the_server_then_closes():
    session, runner, dialogue = logging_in("SCRAM-SHA-256", [challenge("r=other,s=QUJD,i=4096")])
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    assert session.state is State.CLOSED


def test_a_server_that_accepts_without_its_proof_may_be_an_impostor():
    session, runner, dialogue = logging_in("SCRAM-SHA-256", [IN])
    with pytest.raises(SMTPAuthenticationError, match="without a proof") as caught:
        runner.run(dialogue)
    assert caught.value.smtp_code == 535
    assert runner.lines[-1] != b"*"
    assert session.state is State.CLOSED


class Endless(sasl.Plain):
    name = "ENDLESS"

    def respond(self, challenge):
        return b"again"


def test_an_exchange_that_does_not_end_is_aborted():
    session = ready_session("AUTH ENDLESS")
    runner = Runner(session, [b"334 \r\n"] * 100)
    with pytest.raises(SMTPProtocolError, match="does not end"):
        runner.run(authenticate(session, Endless(USER)))
    assert len(runner.lines) == 6
    assert session.state is State.CLOSED


def test_only_235_is_a_successful_login():
    _, runner, dialogue = logging_in("PLAIN", [b"250 ok\r\n"])
    with pytest.raises(SMTPAuthenticationError) as caught:
        runner.run(dialogue)
    assert caught.value.smtp_code == 250


# --- secrets --------------------------------------------------------------------------


def all_locals(error):
    """The local variables of each frame of ours in the tracebacks of an error's chain."""
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_globals["__name__"].startswith("mailbackends."):
                yield from frame.f_locals.items()
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__


def hidden(text):
    return [text, encoded(text).decode(), encoded(f"\0user\0{text}").decode()]


@pytest.mark.parametrize(
    ("mechanism", "replies"),
    [
        ("PLAIN", [WRONG]),
        ("PLAIN", []),
        ("PLAIN", [b"what\r\n"]),
        ("PLAIN", [challenge("more?")]),
        ("LOGIN", [challenge("Password:"), WRONG]),
        ("LOGIN", [challenge("Password:")]),
        ("LOGIN", [challenge("Password:"), challenge("again?"), b"501 ok\r\n"]),
        ("LOGIN", [b"334 !\r\n", b"501 ok\r\n"]),
        ("CRAM-MD5", [challenge("<1@x>"), WRONG]),
        ("CRAM-MD5", [challenge(""), b"501 ok\r\n"]),
        ("SCRAM-SHA-256", [challenge("r=x,s=QUJD,i=4096"), b"501 ok\r\n"]),
        ("SCRAM-SHA-256", [IN]),
        ("XOAUTH2", [WRONG, WRONG]),
        ("XOAUTH2", [challenge("{}"), WRONG, b"what\r\n"]),
        ("OAUTHBEARER", [challenge("{}")]),
    ],
)
def test_no_frame_shows_a_secret_when_a_login_fails(mechanism, replies):
    credentials = sasl.Credentials("user", SECRET, lambda: SECRET)
    session, runner, dialogue = logging_in(mechanism, replies, credentials, [mechanism])
    with pytest.raises((SMTPAuthenticationError, SMTPServerDisconnected, SMTPProtocolError)) as c:
        runner.run(dialogue)
    seen = list(all_locals(c.value))
    assert len(seen) > 5
    for name, value in seen:
        shown = f"{value!r} {value!s}"
        assert not any(secret in shown for secret in hidden(SECRET)), name
    assert SECRET not in f"{c.value} {c.value!r}"
    assert SECRET not in repr(vars(session))


def test_no_frame_shows_a_long_token_that_waits_for_the_challenge():
    token = "x" * 9_500
    credentials = sasl.Credentials("user", token_provider=lambda: token)
    _, runner, dialogue = logging_in("XOAUTH2", [], credentials)
    with pytest.raises(SMTPServerDisconnected) as caught:
        runner.run(dialogue)
    for name, value in all_locals(caught.value):
        assert "xxxx" not in repr(value), name
        assert encoded(token).decode()[:40] not in repr(value), name


@pytest.mark.parametrize("prompt", ["Benutzername:", "", "Kennwort:"])
def test_login_is_repeated_without_initial_response_if_the_prompt_is_not_understood(prompt):
    replies = [challenge(prompt), b"501 cancelled\r\n", challenge(prompt), challenge(prompt), IN]
    _, runner, dialogue = logging_in("LOGIN", replies)
    assert runner.run(dialogue).code == 235
    assert runner.lines == [
        b"AUTH LOGIN " + encoded("user"), b"*", b"AUTH LOGIN", encoded("user"), encoded(SECRET),
    ]  # fmt: skip


@pytest.mark.parametrize("code", [501, 502, 504])
def test_login_is_repeated_without_initial_response_if_the_server_refuses_that(code):
    replies = [b"%d no\r\n" % code, challenge("Username:"), challenge("Password:"), IN]
    _, runner, dialogue = logging_in("LOGIN", replies)
    assert runner.run(dialogue).code == 235
    assert runner.lines[1:] == [b"AUTH LOGIN", encoded("user"), encoded(SECRET)]


def test_login_is_repeated_once_only():
    _, runner, dialogue = logging_in("LOGIN", [b"504 no\r\n", b"504 no\r\n"])
    with pytest.raises(SMTPAuthenticationError):
        runner.run(dialogue)
    assert len(runner.lines) == 2


def test_login_understands_prompts_that_are_not_base64():
    _, runner, dialogue = logging_in("LOGIN", [b"334 Password:\r\n", IN])
    assert runner.run(dialogue).code == 235
    assert runner.lines[1:] == [encoded(SECRET)]
