"""The AUTH exchange by itself: its commands, and the rules that `smtplib` needs."""

import base64

import pytest

from mailbackends.errors import SMTPAuthenticationError, SMTPException, SMTPProtocolError
from mailbackends.protocol import sasl
from mailbackends.protocol.authentication import RULES, SMTPLIB_RULES, attempts, exchange
from mailbackends.reply import Reply

USER = sasl.Credentials("user", "secret")


def encoded(text):
    return base64.b64encode(text.encode())


def played(mechanism, replies, **options):
    """The lines that are sent, the result or the exception, and how often `close` was called."""
    closed = []
    talk = exchange(mechanism, lambda: closed.append(1), **options)
    lines = []
    try:
        command = next(talk)
        for reply in replies:
            lines.append(command.line)
            if isinstance(reply, Exception):
                command = talk.throw(reply)
            else:
                command = talk.send(Reply(reply[0], (reply[1],)))
    except StopIteration as end:
        return lines, end.value, len(closed)
    except Exception as error:
        return lines, error, len(closed)
    raise AssertionError(f"{command} awaits a reply")


def test_without_initial_response_the_mechanism_waits_for_the_first_challenge():
    lines, reply, closed = played(
        sasl.Plain(USER), [(334, b""), (235, b"in")], use_initial_response=False
    )
    assert lines == [b"AUTH PLAIN\r\n", encoded("\0user\0secret") + b"\r\n"]
    assert (reply.code, closed) == (235, 0)


def test_credentials_that_cannot_be_used_are_found_at_the_first_challenge_at_the_latest():
    lines, error, closed = played(
        sasl.Plain(sasl.Credentials("user", "sec\0ret")),
        [(334, b""), (501, b"cancelled")],
        use_initial_response=False,
    )
    assert lines == [b"AUTH PLAIN\r\n", b"*\r\n"]
    assert isinstance(error.__cause__, sasl.SASLCredentialsError)
    assert closed == 0


@pytest.mark.parametrize(
    ("rules", "code", "is_success"),
    [
        (RULES, 235, True),
        (RULES, 503, False),
        (SMTPLIB_RULES, 235, True),
        (SMTPLIB_RULES, 503, True),
    ],
)
def test_only_smtplib_takes_503_for_already_logged_in(rules, code, is_success):
    _, result, closed = played(sasl.Plain(USER), [(code, b"text")], rules=rules)
    assert isinstance(result, Reply if is_success else SMTPAuthenticationError)
    assert closed == 0


def test_only_smtplib_decodes_a_challenge_that_is_not_strictly_base64():
    nearly = base64.b64encode(b"<1@b.test>")[:8] + b" : " + base64.b64encode(b"<1@b.test>")[8:]
    lines, reply, _ = played(sasl.CramMD5(USER), [(334, nearly), (235, b"in")], rules=SMTPLIB_RULES)
    assert (lines[0], reply.code) == (b"AUTH CRAM-MD5\r\n", 235)
    lines, error, closed = played(sasl.CramMD5(USER), [(334, nearly), (501, b"cancelled")])
    assert lines == [b"AUTH CRAM-MD5\r\n", b"*\r\n"]
    assert (str(error.__cause__), closed) == ("the server's challenge is not base64", 1)


def test_a_challenge_that_cannot_be_decoded_at_all_ends_the_exchange_for_smtplib_too():
    lines, error, closed = played(
        sasl.CramMD5(USER), [(334, b"abcde"), (501, b"cancelled")], rules=SMTPLIB_RULES
    )
    assert lines[-1] == b"*\r\n"
    assert (str(error.__cause__), closed) == ("the server's challenge is not base64", 1)


class Failing(sasl.Plain):
    def respond(self, challenge):
        raise LookupError("a fault of the program")


@pytest.mark.parametrize(
    ("answer", "closed"),
    [
        ((501, b"cancelled"), 0),
        ((334, b"not cancelled"), 1),
        (SMTPException("the server hangs up"), 0),
    ],
)
def test_an_exception_at_a_challenge_cancels_the_exchange_and_reaches_the_caller(answer, closed):
    lines, error, times = played(Failing(USER), [(334, b""), answer])
    assert lines[-1] == b"*\r\n"
    assert (type(error), times) == (LookupError, closed)


@pytest.mark.parametrize("rules", [RULES, SMTPLIB_RULES])
@pytest.mark.parametrize("use_initial_response", [True, False])
def test_an_exchange_without_end_is_ended_after_six_responses(rules, use_initial_response):
    class Endless(sasl.Plain):
        def respond(self, challenge):
            return b"again"

    lines, error, closed = played(
        Endless(USER), [(334, b"")] * 9, rules=rules, use_initial_response=use_initial_response
    )
    assert len(lines) == (6 if use_initial_response else 7)
    assert type(error) is (SMTPProtocolError if rules is RULES else SMTPException)
    assert closed == 1


def test_after_a_server_broke_a_mechanism_no_other_is_tried():
    trying = attempts(["SCRAM-SHA-256", "PLAIN"], USER)
    assert next(trying).name == "SCRAM-SHA-256"
    refusal = SMTPAuthenticationError(535, b"wrong")
    refusal.__cause__ = sasl.SASLServerError("wrong")
    with pytest.raises(SMTPAuthenticationError) as caught:
        trying.send(refusal)
    assert caught.value is refusal
