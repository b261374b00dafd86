"""pre_send, post_send and send_failed: change, redirect and cancel messages; get results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage
from django.dispatch import Signal

from django_integration import (
    BatchError,
    EmailBackend,
    SendCancelled,
    post_send,
    pre_send,
    receipt_of,
    send_failed,
)
from django_integration.compat import backend_for
from mailbackends import SMTPRecipientsRefused
from support.server import MailServer

Use = Callable[..., None]
Connect = Callable[[Signal, Callable[..., Any]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    connected: list[tuple[Signal, Callable[..., Any]]] = []

    def connect(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def message(*to: str) -> EmailMessage:
    return EmailMessage("s", "b", to=list(to or ("a@example.com",)))


def test_a_receiver_can_change_and_redirect_a_message(mail: MailServer, connect: Connect) -> None:
    def change(message: EmailMessage, **kwargs: Any) -> None:
        message.subject = "changed"
        message.to = ["b@example.com"]

    connect(pre_send, change)
    assert message().send() == 1
    assert mail.message.rcpt_tos == ("b@example.com",)
    assert mail.message.message["Subject"] == "changed"


def test_a_receiver_can_cancel_a_message(mail: MailServer, connect: Connect) -> None:
    def veto(message: EmailMessage, **kwargs: Any) -> None:
        raise SendCancelled("not on Sundays")

    failures: list[Any] = []
    connect(pre_send, veto)
    connect(send_failed, lambda **kwargs: failures.append(kwargs))
    vetoed = message()

    assert vetoed.send() == 0
    assert mail.connections == 0
    assert str(vetoed.send_error) == "not on Sundays"  # type: ignore[attr-defined]
    assert failures == []


def test_another_exception_in_a_pre_send_receiver_fails_the_message(
    mail: MailServer, connect: Connect
) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a bug")

    connect(pre_send, fail)
    with pytest.raises(RuntimeError, match="a bug"):
        message().send()
    assert mail.messages == []


def test_receivers_get_alias_backend_and_receipt(mail: MailServer, connect: Connect) -> None:
    heard: list[dict[str, Any]] = []

    def note(**kwargs: Any) -> None:
        heard.append(kwargs)

    connect(pre_send, note)
    connect(post_send, note)
    sent = message()
    sent.send()

    before, after = heard
    from django_integration.compat import mailers_configured

    alias = "default" if mailers_configured() else None
    for kwargs in heard:
        assert kwargs["sender"] is EmailBackend
        assert kwargs["message"] is sent
        assert kwargs["alias"] == alias
        assert isinstance(kwargs["backend"], EmailBackend)
    assert "receipt" not in before
    assert after["receipt"] is receipt_of(sent)


def test_receivers_of_send_failed_get_the_error(mail: MailServer, connect: Connect) -> None:
    heard: list[dict[str, Any]] = []

    def note(**kwargs: Any) -> None:
        heard.append(kwargs)

    connect(send_failed, note)
    mail.refuse("a@example.com")
    with pytest.raises(SMTPRecipientsRefused) as caught:
        message().send()
    assert heard[0]["error"] is caught.value


def test_an_exception_in_a_post_send_receiver_is_not_raised(
    mail: MailServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a bug")

    connect(post_send, fail)
    assert message().send() == 1
    assert len(mail.messages) == 1
    assert any("a bug" in str(record.exc_info) for record in caplog.records)


def test_an_async_receiver_in_an_event_loop_does_not_turn_an_accepted_message_into_an_error(
    mail: MailServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Django cannot call it there, and raises even from ``send_robust``."""

    async def note(**kwargs: Any) -> None:
        raise AssertionError("not called")

    connect(post_send, note)
    sent = message()

    async def view() -> int:
        return sent.send()

    assert asyncio.run(view()) == 1
    assert receipt_of(sent) is not None
    assert "The signal for a message could not be sent" in caplog.text


def test_a_receiver_that_raises_does_not_stop_a_batch(mail: MailServer, connect: Connect) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("receiver")

    connect(post_send, fail)
    connect(send_failed, fail)
    mail.refuse("b@example.com")
    batch = [message("a@example.com"), message("b@example.com"), message("c@example.com")]
    with pytest.raises(BatchError):
        backend_for().send_messages(batch)
    assert [receipt_of(one) is not None for one in batch] == [True, False, True]


def test_a_receiver_can_send_another_message(mail: MailServer, connect: Connect) -> None:
    def fall_back(message: EmailMessage, **kwargs: Any) -> None:
        if message.to != ["fallback@example.com"]:
            EmailMessage("s", "b", to=["fallback@example.com"]).send()

    connect(send_failed, fall_back)
    mail.refuse("a@example.com")
    with pytest.raises(SMTPRecipientsRefused):
        message().send()
    assert mail.message.rcpt_tos == ("fallback@example.com",)


# Logs


def test_a_failed_mail_and_a_log_handler_that_sends_mail_do_not_call_each_other_for_ever(
    mail: MailServer, use_settings: Use
) -> None:
    from django.utils.log import AdminEmailHandler

    use_settings(
        ADMINS=["op@example.com"] if django.VERSION >= (6, 0) else [("", "op@example.com")]
    )
    mail.refuse("a@example.com", times=None)
    mail.refuse("op@example.com", times=None)
    handler = AdminEmailHandler()
    handler.setLevel(logging.DEBUG)
    # At DEBUG, which is more than anybody should ask for.
    ours = logging.getLogger("mailbackends")
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        with pytest.raises(SMTPRecipientsRefused):
            message().send()
    finally:
        ours.removeHandler(handler)
        ours.setLevel(logging.NOTSET)

    tried = [line for commands in mail.commands for line in commands if line.startswith("RCPT")]
    assert sum("a@example.com" in line for line in tried) == 1
    # One mail to the operators for each record of the one message, and none for those.
    assert 1 <= sum("op@example.com" in line for line in tried) <= 30


def test_a_failing_receiver_and_a_log_handler_that_sends_mail_do_not_call_each_other_for_ever(
    mail: MailServer, use_settings: Use, connect: Connect
) -> None:
    from django.utils.log import AdminEmailHandler

    use_settings(
        ADMINS=["op@example.com"] if django.VERSION >= (6, 0) else [("", "op@example.com")]
    )

    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a bug")

    connect(post_send, fail)
    handler = AdminEmailHandler()
    handler.setLevel(logging.ERROR)
    dispatch = logging.getLogger("django.dispatch")
    dispatch.addHandler(handler)
    try:
        assert message().send() == 1
    finally:
        dispatch.removeHandler(handler)
    assert 2 <= len(mail.messages) <= 4


def test_failures_are_logged(mail: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    mail.refuse("a@example.com")
    with pytest.raises(SMTPRecipientsRefused):
        message().send()
    assert any(
        record.name == "mailbackends.django" and record.levelno == logging.WARNING
        for record in caplog.records
    )
