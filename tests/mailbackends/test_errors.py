"""The exceptions: their bases, attributes and texts, and copies and pickles of them."""

import copy
import errno
import inspect
import json
import pickle
import smtplib
import socket
import ssl

import pytest

from mailbackends import errors
from mailbackends.errors import (
    BeforeEndError,
    ConfigurationError,
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    RateLimited,
    SigningError,
    SMTPAuthenticationError,
    SMTPCertificateError,
    SMTPConnectError,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
    SMTPTLSError,
    SuppressionError,
    TokenError,
    TransientError,
)
from mailbackends.reply import Reply
from mailbackends.suppressed import Reason, RecipientsSuppressed, Suppression

REFUSED = {"a@example.com": (550, b"5.1.1 No such user"), "b@example.com": (450, b"Later")}

MADE = [
    SMTPException("something"),
    SMTPNotSupportedError("no STARTTLS"),
    SMTPServerDisconnected("gone"),
    SMTPConnectionError.because_of(ConnectionRefusedError(111, "Connection refused"), "h:25"),
    SMTPTimeoutError("timed out: waiting for a reply"),
    SMTPDeliveryUnknown("gone"),
    SMTPResponseException(454, b"TLS not available"),
    SMTPConnectError(554, b"No service"),
    SMTPHeloError(550, b"Who?"),
    SMTPAuthenticationError(535, b"5.7.8 Wrong"),
    SMTPSenderRefused(550, b"5.1.0 Go away", "me@example.com"),
    SMTPDataError(552, b"5.3.4 Too big"),
    SMTPProtocolError(500, b"Line too long."),
    SMTPRecipientsRefused(REFUSED),
    SMTPTLSError("no TLS"),
    SMTPCertificateError("expired"),
    BeforeEndError("before_end raised OSError: the database is gone"),
    PoolTimeout("all busy"),
    RateLimited("the rate is used up"),
    PoolClosed("closed"),
    TokenError("no token", "invalid_client"),
    SigningError("the signer raised OSError: the token of the vault has expired"),
    RecipientsSuppressed({"a@example.com": Suppression("a@example.com", Reason.COMPLAINT)}),
    SuppressionError("the list could not be asked"),
    TransientError("451 4.3.0 Later"),
    ConfigurationError("port=0"),
    InvalidAddressError("a@"),
    InvalidMessageError("no recipients"),
]
each = pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)


def with_everything(error):
    """A copy with all that can be set."""
    error = copy.copy(error)
    error.outcome = Outcome.NOT_SENT
    error.server = "mail.example.com:25"
    error.recipient = "a@example.com"
    error.accepted = ("c@example.com",)
    error.refused = {"d@example.com": Reply(550, (b"No",))}
    error.earlier = (SMTPServerDisconnected("first"),)
    error.no_connection = True
    return error


def test_each_exception_is_among_those_tested_here():
    defined = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception)
        and kind.__module__.startswith("mailbackends.")
        and not kind.__name__.startswith("_")
    }
    assert defined == {type(error) for error in MADE}
    assert {kind.__name__ for kind in defined} <= set(errors.__all__)


def test_each_exception_of_smtplib_is_caught_by_its_own_name():
    theirs = {
        name: kind
        for name, kind in inspect.getmembers(smtplib, inspect.isclass)
        if issubclass(kind, smtplib.SMTPException)
    }
    assert len(theirs) == 10
    for name, kind in theirs.items():
        assert issubclass(getattr(errors, name), kind)


@each
def test_each_exception_is_ours_and_the_standard_librarys(error):
    assert isinstance(error, SMTPException)
    assert isinstance(error, smtplib.SMTPException)
    assert isinstance(error, OSError)


@pytest.mark.parametrize("kind", [ConfigurationError, InvalidAddressError, InvalidMessageError])
def test_invalid_input_is_a_value_error_too_and_never_transient(kind):
    assert issubclass(kind, ValueError)
    assert issubclass(kind, SMTPException)
    assert kind.outcome is Outcome.NOT_SENT
    assert kind.is_transient is False


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (SMTPTimeoutError, TimeoutError),
        (SMTPConnectionError, ConnectionError),
        (SMTPTLSError, ssl.SSLError),
        (SMTPCertificateError, ssl.SSLCertVerificationError),
        (SMTPCertificateError, SMTPTLSError),
        (PoolTimeout, TimeoutError),
        (SMTPTimeoutError, SMTPServerDisconnected),
        (SMTPDeliveryUnknown, SMTPServerDisconnected),
    ],
)
def test_other_bases_that_handlers_may_catch(kind, base):
    assert issubclass(kind, base)


def state(error):
    shown = {
        name: getattr(error, name)
        for name in dir(error)
        # `characters_written` of an OSError is there only where it was set.
        if not name.startswith("_") and name not in ("earlier", "characters_written")
        if not callable(getattr(error, name))
    }
    # Exceptions are equal only to themselves.
    return type(error), str(error), shown, [str(one) for one in error.earlier]


@each
@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("full", [False, True])
def test_they_survive_pickling_and_copying_with_all_they_carry(error, how, full):
    if full:
        error = with_everything(error)
    if how == "pickle":
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
            assert state(twin) == state(error)
    else:
        twin = getattr(copy, how)(error)
        assert state(twin) == state(error)


@each
def test_str_is_one_line(error):
    for shown in (error, with_everything(error)):
        assert len(str(shown).splitlines()) == 1


@each
@pytest.mark.parametrize("outcome", list(Outcome))
def test_with_an_outcome_str_names_the_server_and_the_outcome(error, outcome):
    error = with_everything(error)
    error.outcome = outcome
    consequence = {
        Outcome.ACCEPTED: "the message was accepted",
        Outcome.REFUSED: "the message was refused",
        Outcome.NOT_SENT: "the message was not sent",
        Outcome.UNKNOWN: "may or may not have been delivered: do not send it again blindly",
        Outcome.SUPPRESSED: "nothing was sent",
    }[outcome]
    assert "[mail.example.com:25]" in str(error)
    assert consequence in str(error)
    assert str(error).endswith("; before that: first")


HOSTILE = b"no\r\nway\x1b[2J\xe2\x80\xa8Oct 10 accepted"


@pytest.mark.parametrize(
    "error",
    [
        SMTPServerDisconnected(HOSTILE.decode()),
        SMTPDataError(554, HOSTILE),
        SMTPDataError(554, HOSTILE.decode()),
        SMTPSenderRefused(550, HOSTILE, HOSTILE.decode()),
        SMTPRecipientsRefused({HOSTILE.decode(): (550, HOSTILE)}),
        SMTPProtocolError(500, HOSTILE),
        SMTPTLSError(HOSTILE.decode()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_text_of_a_server_breaks_the_line_or_controls_the_terminal(error):
    error.outcome = Outcome.REFUSED
    assert str(error).isprintable()
    assert len(str(error).splitlines()) == 1


def test_without_an_outcome_str_is_the_standard_librarys():
    assert str(SMTPDataError(554, b"No")) == str(smtplib.SMTPDataError(554, b"No"))
    assert str(SMTPServerDisconnected("gone")) == "gone"
    recipients = {"a": (550, b"No")}
    assert str(SMTPRecipientsRefused(recipients)) == str(smtplib.SMTPRecipientsRefused(recipients))
    sender = (550, b"No", "me")
    assert str(SMTPSenderRefused(*sender)) == str(smtplib.SMTPSenderRefused(*sender))


def test_an_exception_without_a_text_shows_its_name():
    error = SMTPException()
    error.outcome = Outcome.NOT_SENT
    assert str(error) == "SMTPException: the message was not sent"


def test_tls_errors_show_their_text_and_no_tuple():
    assert str(SMTPTLSError("no TLS")) == "no TLS"
    assert str(SMTPCertificateError("expired")) == "expired"


def test_tls_errors_have_the_attributes_of_ssl_errors():
    error = SMTPCertificateError("expired")
    assert (error.reason, error.library, error.verify_code, error.verify_message) == ("", "", 0, "")


# --- whether it may succeed later -----------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "is_transient"),
    [
        (SMTPException("x"), None, False),
        (InvalidMessageError("x"), Outcome.NOT_SENT, False),
        (SMTPServerDisconnected("x"), Outcome.NOT_SENT, True),
        (SMTPTimeoutError("x"), Outcome.NOT_SENT, True),
        (SMTPTimeoutError("x"), Outcome.UNKNOWN, False),
        (SMTPDeliveryUnknown("x"), Outcome.UNKNOWN, False),
        (SMTPDataError(451, b"Later"), Outcome.REFUSED, True),
        (SMTPDataError(554, b"No"), Outcome.REFUSED, False),
        (SMTPDataError(421, b"Bye"), None, True),
        # The login: a wrong password will be refused again.
        (SMTPAuthenticationError(535, b"Wrong"), Outcome.NOT_SENT, False),
        (SMTPAuthenticationError(454, b"Later"), Outcome.NOT_SENT, True),
        (SMTPConnectError(554, b"Never"), Outcome.NOT_SENT, False),
        (SMTPConnectError(421, b"Busy"), Outcome.NOT_SENT, True),
        (SMTPProtocolError(500, b"garbage"), Outcome.NOT_SENT, True),
        (SMTPProtocolError(500, b"garbage"), None, False),
        (SMTPNotSupportedError("x"), Outcome.NOT_SENT, False),
        (SMTPTLSError("x"), Outcome.NOT_SENT, True),
        (PoolTimeout("x"), Outcome.NOT_SENT, True),
        (SMTPRecipientsRefused({"a": (450, b"x"), "b": (421, b"x")}), Outcome.REFUSED, True),
        (SMTPRecipientsRefused(REFUSED), Outcome.REFUSED, False),
        (SMTPRecipientsRefused({}), Outcome.REFUSED, False),
    ],
)
def test_is_transient_if_the_same_message_may_succeed_later(error, outcome, is_transient):
    error = copy.copy(error)
    error.outcome = outcome
    assert error.is_transient is is_transient


@pytest.mark.parametrize("kind", [type(error) for error in MADE[1:]])
def test_the_class_fixes_the_outcome(kind):
    by_kind = {
        SMTPDeliveryUnknown: Outcome.UNKNOWN,
        SMTPSenderRefused: Outcome.REFUSED,
        SMTPDataError: Outcome.REFUSED,
        SMTPRecipientsRefused: Outcome.REFUSED,
        RecipientsSuppressed: Outcome.SUPPRESSED,
    }
    assert kind.outcome is by_kind.get(kind, Outcome.NOT_SENT)


@each
def test_outcome_and_is_transient_survive_a_result_backend_that_keeps_class_and_arguments(error):
    # As with Celery's JSON serialiser: tuples become lists, and bytes text.
    twin = type(error)(*json.loads(json.dumps(error.args, default=bytes.decode)))
    assert twin.outcome is type(error).outcome
    assert (twin.outcome, twin.is_transient) == (error.outcome, error.is_transient)
    assert twin.reply == error.reply


@each
def test_as_dict_has_only_what_json_has(error):
    shown = with_everything(error).as_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["error"] == type(error).__name__
    assert shown["outcome"] == "not_sent"
    assert shown["is_transient"] is with_everything(error).is_transient
    assert shown["server"] == "mail.example.com:25"
    assert shown["accepted"] == ["c@example.com"]
    assert shown["refused"] == {
        "d@example.com": {"code": 550, "text": "No", "enhanced_status": None}
    }
    assert [one["text"] for one in shown["earlier"]] == ["first"]


def test_as_dict_has_the_fields_of_the_class():
    unknown = SMTPDeliveryUnknown("gone")
    unknown.unknown = ("a@example.com",)
    limited = RateLimited("too many")
    limited.retry_after = 2.5
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert unknown.as_dict()["unknown"] == ["a@example.com"]
    assert limited.as_dict()["retry_after"] == 2.5
    assert SMTPSenderRefused(550, b"No", "me@a.test").as_dict()["sender"] == "me@a.test"
    assert SMTPConnectionError.because_of(refused, "h:25").as_dict()["errno"] == errno.ECONNREFUSED
    assert SMTPDataError(552, b"5.3.4 Too big").as_dict()["reply"] == {
        "code": 552,
        "text": "5.3.4 Too big",
        "enhanced_status": "5.3.4",
    }


# --- attributes ------------------------------------------------------------------------


def test_a_refusal_carries_the_reply_and_what_smtplib_calls_it():
    error = SMTPDataError(554, b"5.6.0 Not this\nand not that")
    assert (error.smtp_code, error.smtp_error) == (554, b"5.6.0 Not this\nand not that")
    assert error.reply == Reply(554, (b"5.6.0 Not this", b"and not that"))


def test_a_refusal_with_text_in_place_of_bytes_is_taken_too():
    assert SMTPDataError(554, "nö").reply == Reply(554, ("nö".encode(),))


def test_refused_recipients_carry_the_reply_of_each_and_the_last_one_as_their_own():
    error = SMTPRecipientsRefused(REFUSED)
    assert error.recipients == REFUSED
    assert error.refused["a@example.com"] == Reply(550, (b"5.1.1 No such user",))
    assert error.reply == Reply(450, (b"Later",))


def test_of_many_refused_recipients_three_are_shown():
    error = SMTPRecipientsRefused({f"r{i}@example.com": (550, b"No") for i in range(5)})
    error.outcome = Outcome.REFUSED
    assert str(error) == (
        "all 5 recipients refused: <r0@example.com> 550 No; <r1@example.com> 550 No; "
        "<r2@example.com> 550 No; and 2 more: the message was refused"
    )


@pytest.mark.parametrize(
    ("cause", "fix"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "check host"),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            "nothing listens there: check host and port",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file"),
            "nothing listens there: check host and port",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "check the network"),
        (OSError("no errno at all"), "check the network"),
    ],
)
def test_a_failed_connection_names_the_server_the_cause_and_the_fix(cause, fix):
    error = SMTPConnectionError.because_of(cause, "mail.example.com:25")
    assert "cannot connect to mail.example.com:25" in str(error)
    assert fix in str(error)
    assert (error.errno, error.outcome) == (cause.errno, Outcome.NOT_SENT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"5.7.0 Must issue a STARTTLS command first", "requires TLS: set security='starttls'"),
        (b"5.7.0 Authentication required", "requires a login: set username and password"),
        (
            b"5.7.57 Client not authenticated to send mail",
            "requires a login: set username and password",
        ),
    ],
)
def test_a_server_that_requires_tls_or_a_login_is_explained(text: bytes, words: str):
    sender = errors.SMTPSenderRefused(530, text, "a@example.com")
    recipients = errors.SMTPRecipientsRefused({"b@example.com": (530, text)})
    for error in (sender, recipients):
        error.outcome = Outcome.REFUSED
        error.server = "mail.example.com:25"
        assert words in str(error)
    assert "requires a login" not in str(errors.SMTPSenderRefused(550, b"530 x", "a@example.com"))


@pytest.mark.parametrize(
    "error",
    [SMTPDataError(451, b"Later"), PoolTimeout("all busy"), SMTPServerDisconnected("gone")],
)
def test_an_error_after_which_a_message_may_be_sent_again_is_translated(error):
    with pytest.raises(TransientError) as caught, TransientError.translate():
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.is_transient


@pytest.mark.parametrize(
    "error", [SMTPDataError(554, b"No"), SMTPDeliveryUnknown("gone"), InvalidMessageError("x")]
)
def test_an_error_after_which_it_may_not_be_sent_again_stays_as_it_is(error):
    with pytest.raises(type(error)) as caught, TransientError.translate():
        raise error
    assert caught.value is error


def test_a_message_that_some_recipients_have_is_not_sent_again():
    error = SMTPRecipientsRefused({"b@example.com": (450, b"Later")})
    error.outcome = Outcome.ACCEPTED
    with pytest.raises(SMTPRecipientsRefused), TransientError.translate():
        raise error
