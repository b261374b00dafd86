"""Receipts, errors, batches, and fail_silently."""

from __future__ import annotations

import itertools
import logging
import pickle
import smtplib
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.mail import EmailMessage, send_mail

from django_integration import BatchError, PartialRefusal, receipt_of
from django_integration.compat import backend_for
from django_integration.delivery import Delivery
from django_integration.registry import registry
from mailbackends import (
    Options,
    Outcome,
    PoolTimeout,
    Receipt,
    Reply,
    SMTPConnectError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    Submission,
)
from support.server import MailServer

Use = Callable[..., None]


def message(*to: str, **more: Any) -> EmailMessage:
    return EmailMessage("Subject", "Body", to=list(to), **more)


def send(messages: list[EmailMessage], **attributes: Any) -> int:
    backend = backend_for()
    for name, value in attributes.items():
        setattr(backend, name, value)
    sent: int = backend.send_messages(messages)
    return sent


def test_a_single_refused_message_raises_its_own_exception(mail: MailServer) -> None:
    mail.refuse("gone@example.com")
    refused = message("gone@example.com")

    with pytest.raises(SMTPRecipientsRefused) as caught:
        refused.send()

    assert isinstance(caught.value, smtplib.SMTPRecipientsRefused)
    assert caught.value.outcome is Outcome.REFUSED
    assert refused.send_error is caught.value  # type: ignore[attr-defined]
    assert receipt_of(refused) is None


def test_a_refused_message_does_not_stop_the_rest_of_a_batch(mail: MailServer) -> None:
    mail.refuse("gone@example.com")
    batch = [message("a@example.com"), message("gone@example.com"), message("c@example.com")]

    with pytest.raises(BatchError) as caught:
        send(batch)

    assert [received.rcpt_tos[0] for received in mail.messages] == [
        "a@example.com",
        "c@example.com",
    ]
    error = caught.value
    assert isinstance(error, smtplib.SMTPException)
    assert [given for given, _ in error.outcomes] == batch
    assert [type(result).__name__ for _, result in error.outcomes] == [
        "Receipt",
        "SMTPRecipientsRefused",
        "Receipt",
    ]
    assert [failed for failed, _ in error.failed] == [batch[1]]
    assert len(error.receipts) == 2
    assert not error.is_transient
    assert "1 of 3 messages could not be sent" in str(error)
    assert error.__cause__ is error.failed[0][1]
    assert mail.connections == 1


def test_a_batch_error_survives_pickling(mail: MailServer) -> None:
    mail.refuse("gone@example.com", "451 4.2.0 Later")
    with pytest.raises(BatchError) as caught:
        send([message("a@example.com"), message("gone@example.com")])
    copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(copied) == str(caught.value)
    assert copied.is_transient


def test_an_invalid_message_does_not_stop_the_rest_of_a_batch(mail: MailServer) -> None:
    batch = [message("a@example.com"), message("b\n@example.com"), message("c@example.com")]
    with pytest.raises(BatchError) as caught:
        send(batch)
    assert len(mail.messages) == 2
    assert isinstance(caught.value.failed[0][1], ValueError)


def test_an_unreachable_server_is_tried_once_for_a_batch(use_mail: Use, server: MailServer) -> None:
    use_mail(host=server.host, port=server.port)
    server.answer("CONNECT", "554 5.3.2 Not now", times=None)
    server.answer("EHLO", "421 4.3.2 Closing", times=None)
    batch = [message("a@example.com"), message("b@example.com"), message("c@example.com")]

    with pytest.raises(smtplib.SMTPException) as caught:
        send(batch)

    assert not isinstance(caught.value, BatchError)
    assert server.connections == 1
    assert [sent.send_error for sent in batch] == [caught.value] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("more", [{}, {"batch_pipeline": 4}, {"batch_connections": 2}], ids=str)
def test_each_message_of_a_batch_has_the_error_of_an_unreachable_server(
    use_mail: Use, more: dict[str, int]
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        use_mail(host="127.0.0.1", port=sock.getsockname()[1], **more)
    batch = [message("a@example.com") for _ in range(9)]

    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        send(batch)

    errors = [sent.send_error for sent in batch]  # type: ignore[attr-defined]
    assert [error.outcome for error in errors] == [Outcome.NOT_SENT] * 9
    assert all(error.no_connection for error in errors)
    assert [receipt_of(sent) for sent in batch] == [None] * 9


def test_a_pool_timeout_fails_one_message_and_not_the_rest_of_the_batch(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, pool_size=1, pool_timeout=0.05)
    batch = [message("a@example.com") for _ in range(4)]
    connection = backend_for()
    taken = ExitStack()

    def messages() -> Iterator[EmailMessage]:
        yield batch[0]
        # Another thread has the only connection for longer than pool_timeout.
        mailer = taken.enter_context(registry.mailer(connection.mailer_key))
        taken.enter_context(mailer.hold()).send_message(b"\r\n", "", ["held@example.com"])
        yield batch[1]
        taken.close()
        yield from batch[2:]

    with pytest.raises(BatchError) as caught:
        connection.send_messages(messages())
    [(failed, error)] = caught.value.failed
    assert (failed, type(error)) == (batch[1], PoolTimeout)
    assert [receipt_of(one) is not None for one in batch] == [True, False, True, True]


def test_a_server_that_works_again_gets_the_rest_of_a_long_batch(
    use_mail: Use, server: MailServer
) -> None:
    port = server.port
    use_mail(host=server.host, port=port, circuit_pause=0.01, max_idle=0.001)
    batch = [message("a@example.com") for _ in range(3)]
    backend = backend_for()

    def messages() -> Iterator[EmailMessage]:
        server.answer("EHLO", "421 4.3.2 Restarting", times=1)
        yield batch[0]
        time.sleep(0.02)
        yield from batch[1:]

    with pytest.raises(BatchError):
        backend.send_messages(messages())
    assert [receipt_of(one) is not None for one in batch] == [False, True, True]


class _Ahead:
    """A Mailer that reads three messages ahead, as with ``batch_connections``."""

    options = Options()

    def __init__(self, *outcomes: Receipt | Exception) -> None:
        self.outcomes = iter(outcomes)
        self.taken: list[Submission] = []

    def stream_messages(self, submissions: Iterable[Submission]) -> Iterator[Receipt | Exception]:
        coming = iter(submissions)
        pending = [*itertools.islice(coming, 3)]
        while pending:
            self.taken.append(pending.pop(0))
            yield next(self.outcomes)
            pending += itertools.islice(coming, 1)


def test_messages_in_flight_at_a_lost_server_have_their_own_outcome(
    mail: MailServer,
) -> None:
    """With several connections, one could not be made and the others may have sent."""
    lost = SMTPConnectError(421, "Closing")
    lost.no_connection = True
    sent = Receipt(("b@example.com",), Reply(250), {})
    mailer: Any = _Ahead(lost, sent, lost)
    delivery = Delivery(backend_for())
    batch = [message(f"{name}@example.com") for name in "abcde"]
    delivery.send_by_mailer(mailer, batch)

    assert len(mailer.taken) == 3
    with pytest.raises(BatchError) as caught:
        delivery.finish()
    assert [what for _, what in caught.value.outcomes] == [lost, sent, lost, lost, lost]
    assert [receipt_of(one) for one in batch] == [None, sent, None, None, None]


def test_a_partial_refusal_is_logged_as_a_warning(
    mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    mail.refuse("gone@example.com")
    partial = message("a@example.com", "gone@example.com")

    assert partial.send() == 1

    assert getattr(partial, "send_error", "not set") is None
    receipt = receipt_of(partial)
    assert receipt is not None
    assert receipt.accepted == ("a@example.com",)
    assert str(receipt.refused["gone@example.com"]) == "550 5.1.1 No such user"
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name.startswith("mailbackends.")
    assert "gone@example.com" in record.getMessage()


def test_a_partial_refusal_is_an_error_if_the_settings_say_so(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, on_partial_refusal="raise")
    server.refuse("gone@example.com")
    partial = message("a@example.com", "gone@example.com")

    with pytest.raises(PartialRefusal) as caught:
        partial.send()

    assert caught.value.receipt is receipt_of(partial)
    assert caught.value.outcome is Outcome.ACCEPTED
    assert not caught.value.is_transient
    assert "1 of 2 recipients refused" in str(caught.value)
    copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert copied.refused == caught.value.refused
    assert len(server.messages) == 1


def test_a_fully_accepted_message_is_not_an_error_with_on_partial_refusal_raise(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, on_partial_refusal="raise")
    accepted = message("a@example.com", "b@example.com")

    assert accepted.send() == 1

    receipt: Any = receipt_of(accepted)
    assert receipt.accepted == ("a@example.com", "b@example.com")
    assert getattr(accepted, "send_error", "not set") is None


def test_an_unknown_outcome_is_reported_and_not_retried(mail: MailServer) -> None:
    mail.hang_up("content")
    lost = message("a@example.com")
    with pytest.raises(SMTPDeliveryUnknown) as caught:
        lost.send()
    assert caught.value.outcome is Outcome.UNKNOWN
    assert not caught.value.is_transient
    assert sum(line.startswith("MAIL") for commands in mail.commands for line in commands) == 1


@pytest.mark.parametrize("fault", ["refused", "unreachable", "lost"])
def test_fail_silently_returns_the_count_and_sets_send_error(
    fault: str, mail: MailServer, use_mail: Use, caplog: pytest.LogCaptureFixture
) -> None:
    if fault == "refused":
        mail.refuse("a@example.com")
    elif fault == "lost":
        mail.hang_up("content")
    else:
        mail.answer("EHLO", "421 Closing", times=None)
        mail.answer("HELO", "421 Closing", times=None)
    failing = message("a@example.com")

    assert send([failing], fail_silently=True) == 0
    assert isinstance(failing.send_error, OSError)  # type: ignore[attr-defined]
    assert any("Not sent" in record.getMessage() for record in caplog.records)


def test_fail_silently_counts_accepted_messages(mail: MailServer) -> None:
    mail.refuse("gone@example.com")
    batch = [message("a@example.com"), message("gone@example.com"), message("c@example.com")]
    assert send(batch, fail_silently=True) == 2


def test_fail_silently_raises_errors_of_the_application(mail: MailServer) -> None:
    with pytest.raises(ValueError, match="Invalid address"):
        send([message("a\n@example.com")], fail_silently=True)
    assert mail.connections == 0


def test_messages_can_come_from_an_iterator(mail: MailServer) -> None:
    assert send(iter([message("a@example.com"), message("b@example.com")])) == 2  # type: ignore[arg-type]


def test_a_batch_reads_its_iterator_one_message_at_a_time(mail: MailServer) -> None:
    made: list[int] = []

    def messages() -> Any:
        for number in range(3):
            # The one before has arrived when the next one is made.
            made.append(len(mail.messages))
            yield message(f"{number}@example.com")

    assert send(messages()) == 3
    assert made == [0, 1, 2]


@pytest.mark.parametrize("nothing", [[], None, ()])
def test_an_empty_batch_opens_no_connection(mail: MailServer, nothing: Any) -> None:
    assert send(nothing) == 0
    assert mail.connections == 0


def test_a_message_without_recipients_is_not_sent_and_not_counted(mail: MailServer) -> None:
    empty = message()
    assert send([empty, message("a@example.com")]) == 1
    assert "no recipients" in str(empty.send_error)  # type: ignore[attr-defined]


def test_the_error_for_a_wrong_password_does_not_contain_it(
    use_mail: Use, secure_options: Callable[[MailServer], dict[str, Any]]
) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        use_mail(**secure_options(server) | {"password": "hunter2"})
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            send_mail("s", "b", None, ["a@example.com"])
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def test_a_certificate_that_cannot_be_verified_is_refused(
    use_mail: Use, secure_options: Callable[[MailServer], dict[str, Any]]
) -> None:
    import ssl

    from support import certs

    with MailServer(tls="starttls", login=("user", "secret")) as server:
        use_mail(**secure_options(server) | {"ssl_cafile": certs.untrusted_cafile()})
        with pytest.raises(ssl.SSLCertVerificationError, match="ssl_cafile"):
            send_mail("s", "b", None, ["a@example.com"])


def test_every_message_has_a_receipt_and_an_error_or_none(mail: MailServer) -> None:
    without: Any = EmailMessage("s", "b", to=[])
    assert (without.receipt, without.send_error) == (None, None)
    assert without.send() == 0, "Django calls no backend"
    assert (without.receipt, without.send_error) == (None, None)
    sent: Any = EmailMessage("s", "b", to=["a@example.com"])
    sent.send()
    assert sent.receipt.accepted == ("a@example.com",)
    assert sent.send_error is None
    mistyped: Any = EmailMessage("s", "b", to=["ada@"])
    with pytest.raises(SMTPException) as caught:
        mistyped.send()
    assert (mistyped.receipt, mistyped.send_error) == (None, caught.value)
