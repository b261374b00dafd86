"""The backend asks the project's suppression list, once, and nobody is left out in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_integration import BatchError, SettingsError, asend
from django_integration.compat import backend_for
from django_integration.signals import post_send, send_failed
from django_integration.suppression import suppression_list
from mailbackends import Outcome, RecipientsSuppressed, SuppressionError
from mailbackends.suppression import Reason
from support.sink import Sink

Use = Callable[..., None]
Suppress = Callable[..., None]

ADA, BEN, CAT = "ada@example.net", "ben@example.net", "cat@example.net"


@pytest.fixture
def sink(use_mail: Use) -> Iterator[Sink]:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        yield sink


def message(*to: str, stream: str | None = None) -> Any:
    made: Any = EmailMessage("News", "Hello", "shop@example.com", list(to))
    if stream is not None:
        made.stream = stream
    return made


@pytest.fixture
def signals() -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def sent(receipt: Any, **kwargs: Any) -> None:
        seen.append(("sent", receipt))

    def failed(error: Any, **kwargs: Any) -> None:
        seen.append(("failed", error))

    post_send.connect(sent)
    send_failed.connect(failed)
    yield seen
    post_send.disconnect(sent)
    send_failed.disconnect(failed)


def test_a_suppressed_recipient_is_left_out(
    sink: Sink, suppress: Suppress, signals: list[tuple[str, Any]]
) -> None:
    suppress(BEN, "newsletter")
    made = message("Ada <Ada@Example.net>", "BEN@example.net", stream="newsletter")
    assert made.send() == 1
    assert [each.rcpt_tos for each in sink.messages] == [("Ada@Example.net",)]
    assert made.receipt.outcomes == {
        "Ada@Example.net": Outcome.ACCEPTED,
        "BEN@example.net": Outcome.SUPPRESSED,
    }
    assert made.receipt.as_dict()["suppressed"]["BEN@example.net"]["scope"] == "newsletter"
    assert signals == [("sent", made.receipt)]


def test_the_stream_of_unsubscribe_is_the_stream_of_the_message(
    sink: Sink, suppress: Suppress, use_settings: Use
) -> None:
    use_settings(MAILBACKENDS_UNSUBSCRIBE_URL="https://www.example.com/unsubscribe/")
    suppress(ADA, "newsletter")
    made = message(ADA)
    made.unsubscribe = "newsletter"
    assert made.send() == 0
    assert isinstance(made.send_error, RecipientsSuppressed)
    assert sink.connections == 0


def test_a_message_for_nobody_else_is_no_error_and_never_silent(
    sink: Sink, suppress: Suppress, signals: list[tuple[str, Any]], caplog: Any
) -> None:
    suppress(ADA, reason=Reason.COMPLAINT)
    made = message(ADA)
    with caplog.at_level("INFO", logger="django_integration"), caplog.at_level("INFO"):
        assert made.send() == 0
    assert made.receipt is None
    assert made.send_error.outcome is Outcome.SUPPRESSED
    assert [(kind, type(each)) for kind, each in signals] == [("failed", RecipientsSuppressed)]
    assert "the recipient is suppressed" in caplog.text
    assert sink.connections == 0


def test_with_on_suppressed_raise_it_is_an_error(use_mail: Use, suppress: Suppress) -> None:
    suppress(ADA)
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port, on_suppressed="raise")
        with pytest.raises(RecipientsSuppressed):
            message(ADA).send()
        with pytest.raises(BatchError) as caught:
            backend_for(None).send_messages([message(ADA), message(BEN)])
    assert [type(error) for _, error in caught.value.failed] == [RecipientsSuppressed]
    assert len(caught.value.receipts) == 1


def test_a_batch_is_one_query(sink: Sink, suppress: Suppress) -> None:
    people = [f"n{number}@example.net" for number in range(100)]
    for to in people[::10]:
        suppress(to, "newsletter")
    messages = [message(to, stream="newsletter") for to in people]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert backend_for(None).send_messages(messages) == 90
    assert len(queries) == 1
    assert len(sink.messages) == 90
    assert [made.send_error is not None for made in messages[:11]] == [True, *[False] * 9, True]


def test_one_message_is_one_query(sink: Sink) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert message(ADA, BEN).send() == 1
    assert len(queries) == 1


def test_who_is_added_by_a_receiver_before_sending_is_asked_about_too(
    sink: Sink, suppress: Suppress
) -> None:
    from django_integration.signals import pre_send

    suppress(CAT)

    def add_cat(message: EmailMessage, **kwargs: Any) -> None:
        message.bcc = [CAT]

    pre_send.connect(add_cat)
    try:
        made = message(ADA)
        made.send()
    finally:
        pre_send.disconnect(add_cat)
    assert made.receipt.suppressed.keys() == {CAT}
    assert sink.message.rcpt_tos == (ADA,)


def test_a_suppressed_message_does_not_hide_the_failure_of_another(
    sink: Sink, suppress: Suppress
) -> None:
    suppress(ADA)
    sink.refuse(BEN, "550 5.1.1 No such user")
    with pytest.raises(BatchError) as caught:
        backend_for(None).send_messages([message(ADA), message(BEN), message(CAT)])
    assert [made.to for made, _ in caught.value.failed] == [[BEN]]


def test_asynchronous_mail_asks_once_too(sink: Sink, suppress: Suppress) -> None:
    suppress(BEN)
    backend = backend_for(None)
    messages = [message(ADA), message(BEN)]

    async def send() -> int:
        assert await asend(message(BEN)) == 0
        return int(await backend.asend_messages(messages))

    with CaptureQueriesContext(connection) as queries:
        assert asyncio.run(send()) == 1
    # The connection of the thread for synchronous code is another one.
    assert len(queries) == 0
    assert messages[1].send_error.outcome is Outcome.SUPPRESSED
    assert [each.rcpt_tos for each in sink.messages] == [(ADA,)]


def test_exempt_streams_reach_who_has_left_all_mail_but_not_who_complained(
    sink: Sink, suppress: Suppress, use_settings: Use
) -> None:
    use_settings(MAILBACKENDS_SUPPRESSION={"exempt": ["password_reset"]})
    suppress(ADA)
    suppress(BEN, reason=Reason.COMPLAINT)
    assert message(ADA).send() == 0
    assert message(ADA, stream="password_reset").send() == 1
    assert message(BEN, stream="password_reset").send() == 0
    use_settings(MAILBACKENDS_SUPPRESSION={"exempt": {"password_reset": ["complaint"]}})
    assert message(BEN, stream="password_reset").send() == 1


def test_a_list_that_cannot_be_read_sends_nothing(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OSError("the database is gone")

    monkeypatch.setattr(suppression_list(), "_entries", fail)
    with pytest.raises(SuppressionError, match="could not be asked"):
        message(ADA).send()
    assert sink.connections == 0


def test_a_mailer_can_do_without(use_mail: Use, suppress: Suppress) -> None:
    suppress(ADA)
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port, suppression=False)
        assert message(ADA).send() == 1


def test_a_mailer_can_have_another_list(use_mail: Use, suppress: Suppress) -> None:
    class Nobody:
        def suppressed(self, addresses: Any, stream: Any) -> dict[str, Any]:
            return {}

    suppress(ADA)
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port, suppression=Nobody())
        assert message(ADA).send() == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("shop.lists.Mine", "cannot be imported"),
        (7, r"which has the method suppressed\(addresses, stream\), got int"),
    ],
)
def test_a_list_that_is_none_is_refused(use_email_settings: Use, value: Any, text: str) -> None:
    use_email_settings(host="localhost", suppression=value)
    with pytest.raises(SettingsError, match=text):
        message(ADA).send()


def test_a_connection_of_a_third_party_is_asked_for_too(sink: Sink, suppress: Suppress) -> None:
    import smtplib

    suppress(BEN)
    backend: Any = backend_for(None)
    backend.connection = smtplib.SMTP(sink.host, sink.port)
    made = [message(ADA, BEN), message(BEN)]
    try:
        assert backend.send_messages(made) == 1
    finally:
        backend.connection.quit()
    assert made[0].receipt.suppressed.keys() == {BEN}
    assert isinstance(made[1].send_error, RecipientsSuppressed)
    assert [each.rcpt_tos for each in sink.messages] == [(ADA,)]


def test_a_stream_that_is_no_name_is_refused(sink: Sink) -> None:
    with pytest.raises(ValueError, match="a stream must be a name of 1 to 50 characters"):
        message(ADA, stream="x" * 51).send()
