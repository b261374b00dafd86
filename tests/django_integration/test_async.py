"""`asend`, `asend_mail`, `asend_mass_mail` and `EmailBackend.asend_messages`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import mail as django_mail
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import path

from django_integration import (
    EmailBackend,
    SendCancelled,
    asend,
    asend_mail,
    asend_mass_mail,
    post_send,
    pre_send,
    receipt_of,
    send_failed,
)
from django_integration.compat import backend_for
from django_integration.health import acheck_mail, mail_stats
from django_integration.registry import async_registry
from mailbackends import Outcome
from support.ports import free_port
from support.server import MailServer
from support.sink import Sink

Use = Callable[..., None]
Seen = list[tuple[str, str, str]]


def message(*to: str, **more: Any) -> EmailMessage:
    return EmailMessage("Subject", "Body", to=list(to or ("a@example.com",)), **more)


@pytest.fixture
def seen() -> Iterator[Seen]:
    """The signals that were sent: name, recipients, and the class of the receipt or error."""
    found: Seen = []

    def receiver(name: str) -> Callable[..., None]:
        def receive(message: EmailMessage, **more: Any) -> None:
            if name == "pre_send" and message.to == ["stop@example.com"]:
                raise SendCancelled("stopped")
            if name == "pre_send" and message.to == ["bug@example.com"]:
                raise RuntimeError("a bug")
            result = more.get("receipt", more.get("error"))
            found.append((name, ",".join(message.to), type(result).__name__))

        return receive

    with ExitStack() as stack:
        for name, signal in (
            ("pre_send", pre_send),
            ("post_send", post_send),
            ("send_failed", send_failed),
        ):
            connected = receiver(name)
            signal.connect(connected)
            stack.callback(signal.disconnect, connected)
            stack.callback(lambda kept: None, connected)  # a signal refers to it weakly
        yield found


def blocking(messages: list[EmailMessage]) -> int:
    sent: int = backend_for().send_messages(messages)
    return sent


def awaited(messages: list[EmailMessage]) -> int:
    async def main() -> int:
        backend = await sync_to_async(backend_for)()
        sent: int = await backend.asend_messages(messages)
        return sent

    return asyncio.run(main())


def result(send: Callable[[list[EmailMessage]], int], messages: list[EmailMessage]) -> Any:
    try:
        returned: Any = send(messages)
    except Exception as error:
        returned = type(error), getattr(error, "outcome", None)
    described = []
    for each in messages:
        receipt, error = receipt_of(each), getattr(each, "send_error", "missing")
        described.append(
            (
                receipt and (receipt.accepted, {to: r.code for to, r in receipt.refused.items()}),
                type(error),
                getattr(error, "outcome", None),
            )
        )
    return returned, described


SCENARIOS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "accepted": ({}, [("a@example.com",)]),
    "refused": ({}, [("gone@example.com",)]),
    "partly refused": ({}, [("a@example.com", "gone@example.com")]),
    "partly refused, strict": (
        {"on_partial_refusal": "raise"},
        [("a@example.com", "gone@example.com")],
    ),
    "cancelled by a receiver": ({}, [("stop@example.com",)]),
    "a receiver raises": ({}, [("bug@example.com",), ("a@example.com",)]),
    "an invalid address": ({}, [("a@b@c",), ("a@example.com",)]),
    "a batch": (
        {},
        [("a@example.com",), ("gone@example.com",), ("stop@example.com",), ("b@example.com",)],
    ),
    "a pipelined batch": (
        {"batch_pipeline": 4},
        [("a@example.com",), ("gone@example.com",), ("bug@example.com",), ("b@example.com",)],
    ),
    "side by side": (
        {"batch_connections": 2},
        [("a@example.com",), ("gone@example.com",), ("b@example.com",)],
    ),
    "staging": ({"redirect_all_to": ["qa@example.com"]}, [("a@example.com",)]),
    "staging that allows no recipient": (
        {"allowed_recipients": ["@example.org"]},
        [("a@example.com",)],
    ),
    "silently": ({"fail_silently": True}, [("gone@example.com",), ("a@example.com",)]),
    "no server": ({"port": None}, [("a@example.com",), ("b@example.com",)]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ways_of_sending_give_the_same_results_and_signals(
    name: str, server: MailServer, use_email_settings: Use, seen: Seen
) -> None:
    options, recipients = SCENARIOS[name]
    options = {"host": server.host, "port": server.port, **options}
    options["port"] = options["port"] or free_port()
    is_silent = options.pop("fail_silently", False)
    use_email_settings(**options)
    server.refuse("gone@example.com")
    runs = []
    for send in (blocking, awaited):
        messages = [message(*to) for to in recipients]

        def call(
            given: list[EmailMessage], send: Callable[[list[EmailMessage]], int] = send
        ) -> int:
            return send(given)

        if is_silent:
            call = silent_blocking if send is blocking else silent_awaited
        outcome = result(call, messages)
        # Side by side, and in a pipeline, the order across messages is not fixed.
        runs.append((outcome, sorted(seen), [m.rcpt_tos for m in server.messages]))
        seen.clear()
        server.messages.clear()
    assert sorted(runs[0][2]) == sorted(runs[1][2])
    assert runs[0][:2] == runs[1][:2]


def silent_blocking(messages: list[EmailMessage]) -> int:
    backend = backend_for()
    backend.fail_silently = True
    sent: int = backend.send_messages(messages)
    return sent


def silent_awaited(messages: list[EmailMessage]) -> int:
    async def main() -> int:
        backend = await sync_to_async(backend_for)()
        backend.fail_silently = True
        sent: int = await backend.asend_messages(messages)
        return sent

    return asyncio.run(main())


def test_the_functions_send_and_return_the_number_of_accepted_messages(mail: MailServer) -> None:
    async def main() -> tuple[int, int, int]:
        return (
            await asend(message()),
            await asend_mail("s", "b", None, ["b@example.com"], html_message="<p>b</p>"),
            await asend_mass_mail(
                [("s", "b", None, ["c@example.com"]), ("s", "b", None, ["d@example.com"])]
            ),
        )

    assert asyncio.run(main()) == (1, 1, 2)
    assert len(mail.messages) == 4
    assert mail.connections == 1


def test_no_thread_sends_the_messages_of_a_burst(server: MailServer, use_mail: Use) -> None:
    use_mail(host=server.host, port=server.port, pool_size=3)

    async def main() -> tuple[list[int], set[threading.Thread]]:
        await asend(message())  # from here on, the thread of sync_to_async runs
        before = set(threading.enumerate())
        sent = await asyncio.gather(*(asend(message()) for _ in range(50)))
        return sent, set(threading.enumerate()) - before

    sent, started = asyncio.run(main())
    assert sent == [1] * 50
    assert len(started) <= 1
    assert server.connections <= 3


def test_each_event_loop_has_its_connections_and_closes_them_at_its_end(mail: MailServer) -> None:
    for count in (1, 2, 3):
        asyncio.run(asend(message()))
        assert mail.connections == count
        mail.wait(lambda: mail.open_connections == 0)
    assert async_registry.stats() == []


def test_two_event_loops_at_the_same_time_both_send(mail: MailServer) -> None:
    both = threading.Barrier(2, timeout=10)
    sent: list[int] = []

    async def main() -> None:
        sent.append(await asend(message()))
        both.wait()
        sent.append(await asend(message()))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sent == [1] * 4
    assert mail.connections == 2


def test_a_loop_that_was_closed_without_its_generators_does_not_disturb_the_next(
    mail: MailServer,
) -> None:
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(asend(message())) == 1
    loop.close()
    assert asyncio.run(asend(message())) == 1
    mail.wait(lambda: mail.open_connections == 0)
    assert async_registry.stats() == []


def test_beyond_the_limit_the_least_recently_used_mailer_is_closed(
    mail: MailServer, use_settings: Use
) -> None:
    use_settings(MAILBACKENDS_MAX_POOLS=1)

    async def main() -> int:
        for timeout in (5, 6, 7):
            backend = await sync_to_async(backend_for)()
            backend.timeout = timeout
            await backend.asend_messages([message()])
        return len(async_registry.stats())

    assert asyncio.run(main()) == 1
    assert mail.connections == 3


def test_a_receiver_may_be_a_coroutine_function(mail: MailServer) -> None:
    found: list[Any] = []

    async def receive(message: EmailMessage, receipt: Any, **more: Any) -> None:
        await asyncio.sleep(0)
        found.append(receipt)

    post_send.connect(receive)
    try:
        asyncio.run(asend(sent := message()))
    finally:
        post_send.disconnect(receive)
    assert found == [receipt_of(sent)]


def test_a_caller_cancelled_while_it_waits_for_a_connection_gets_not_sent(
    mail: MailServer, seen: Seen
) -> None:
    async def main() -> EmailMessage:
        key = (await sync_to_async(backend_for)()).mailer_key
        async with async_registry.mailer(key) as mailer, AsyncExitStack() as stack:
            for _ in range(mailer.options.pool_size):
                await (await stack.enter_async_context(mailer.hold())).open()
            left = message("left@example.com")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asend(left)
            return left

    left = asyncio.run(main())
    assert left.send_error.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]
    assert ("send_failed", "left@example.com", "CancelledError") in seen
    assert mail.messages == []


LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


def test_the_outbox_of_tests_has_what_the_functions_send(use_mail: Use) -> None:
    use_mail(backend=LOCMEM)
    django_mail.outbox = []

    async def main() -> int:
        await asend_mail("one", "b", None, ["b@example.com"])
        return await asend(message()) + await asend_mass_mail([("s", "b", None, ["c@x.example"])])

    assert asyncio.run(main()) == 2
    assert [each.subject for each in django_mail.outbox] == ["one", "Subject", "s"]


class Tagging(EmailBackend):
    """A subclass that knows of the blocking method only."""

    def send_messages(self, email_messages: Any) -> int:
        for each in email_messages:
            each.subject = f"[shop] {each.subject}"
        return super().send_messages(email_messages)


def test_a_subclass_that_extends_send_messages_is_used(
    server: MailServer, use_email_settings: Use
) -> None:
    use_email_settings(f"{__name__}.Tagging", host=server.host, port=server.port)
    assert asyncio.run(asend(message())) == 1
    assert server.message.message["Subject"] == "[shop] Subject"


class Signed(EmailMessage):
    """A message that needs synchronous code to be written, as one that uses the ORM does."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return super().message(*args, **kwargs)


def test_a_message_class_of_the_application_is_written_outside_of_the_loop(
    mail: MailServer,
) -> None:
    assert asyncio.run(asend(Signed("s", "b", to=["a@example.com"]))) == 1


def test_using_and_a_connection_exclude_each_other(mail: MailServer) -> None:
    with pytest.raises(TypeError, match="leave one of them out"):
        asyncio.run(asend_mail("s", "b", None, ["a@b.example"], using="x", connection=object()))


async def view(request: HttpRequest) -> HttpResponse:
    sent = message()
    await asend(sent)
    return HttpResponse(str(receipt_of(sent) is not None))


def test_an_async_view_sends_in_djangos_async_test_client(
    mail: MailServer, use_settings: Use
) -> None:
    use_settings(ROOT_URLCONF=(path("", view),))

    async def main() -> list[bytes]:
        client = AsyncClient()
        return [(await client.get("/")).content for _ in range(3)]

    assert asyncio.run(main()) == [b"True"] * 3
    assert len(mail.messages) == 3
    assert mail.connections == 1


@pytest.fixture
def slow(use_mail: Use) -> Iterator[Sink]:
    """A server that answers half a second after the last byte came."""
    with Sink(quiet=0.5) as sink:
        use_mail(host=sink.host, port=sink.port)
        yield sink


def test_the_outcome_of_a_message_whose_caller_left_is_recorded_when_it_is_known(
    slow: Sink, seen: Seen
) -> None:
    async def main() -> EmailMessage:
        await asend(message("first@example.com"))  # so that the next one takes one flight
        seen.clear()
        left = message("left@example.com")
        sending = asyncio.create_task(asend(left))
        await asyncio.sleep(0.2)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sending
        assert caught.value.outcome is Outcome.UNKNOWN  # type: ignore[attr-defined]
        assert left.send_error is caught.value  # type: ignore[attr-defined]
        assert "post_send" not in [name for name, *_ in seen]
        await async_registry.aclose()
        return left

    left = asyncio.run(main())
    assert receipt_of(left).accepted == ("left@example.com",)  # type: ignore[union-attr]
    assert left.send_error is None  # type: ignore[attr-defined]
    assert seen == [
        ("pre_send", "left@example.com", "NoneType"),
        ("post_send", "left@example.com", "Receipt"),
    ]


def test_where_the_loop_ends_before_the_reply_the_message_is_unknown(
    slow: Sink, seen: Seen
) -> None:
    async def main() -> EmailMessage:
        await asend(message("first@example.com"))
        seen.clear()
        left = message("left@example.com")
        sending = asyncio.create_task(asend(left))
        await asyncio.sleep(0.2)
        sending.cancel()
        await asyncio.wait([sending])
        return left

    left = asyncio.run(main())
    assert left.send_error.outcome is Outcome.UNKNOWN  # type: ignore[attr-defined]
    assert [name for name, *_ in seen] == ["pre_send", "send_failed"]


@pytest.mark.parametrize("options", [{}, {"batch_pipeline": 4}, {"batch_connections": 3}], ids=str)
def test_each_message_of_a_left_batch_gets_one_signal(
    server: MailServer, use_mail: Use, seen: Seen, options: dict[str, int]
) -> None:
    use_mail(host=server.host, port=server.port, **options)

    async def main(seconds: float) -> list[EmailMessage]:
        messages = [message(f"{number}@example.com") for number in range(40)]
        backend = await sync_to_async(backend_for)()
        sending = asyncio.create_task(backend.asend_messages(messages))
        await asyncio.sleep(seconds)
        sending.cancel()
        await asyncio.wait([sending])
        await async_registry.aclose()
        return messages

    for seconds in (0.01, 0.03, 0.05):
        seen.clear()
        server.messages.clear()
        messages = asyncio.run(main(seconds))
        sent = sorted(to for received in server.messages for to in received.rcpt_tos)
        begun = [to for name, to, _ in seen if name == "pre_send"]
        posted = sorted(to for name, to, _ in seen if name == "post_send")
        failed = [to for name, to, _ in seen if name == "send_failed"]
        assert posted == sent
        # The last one may have been left between its pre_send and the Mailer.
        assert len(begun) - 1 <= len(posted) + len(failed) <= len(begun)
        assert not set(posted) & set(failed)
        assert sorted(each.to[0] for each in messages if receipt_of(each)) == sent


@pytest.mark.parametrize("options", [{}, {"batch_pipeline": 4}, {"batch_connections": 3}], ids=str)
@pytest.mark.parametrize("pauses", range(1, 7))
def test_each_message_gets_one_signal_however_often_its_batch_is_cancelled(
    use_mail: Use, options: dict[str, int], pauses: int
) -> None:
    """Also while earlier outcomes are settled."""
    ends: list[str] = []
    begun: list[asyncio.Event] = []

    async def record(message: EmailMessage, **more: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        ends.append(message.to[0])
        if len(ends) == 2:
            begun[0].set()

    async def main() -> list[EmailMessage]:
        messages = [message(f"{number}@example.com") for number in range(12)]
        backend = await sync_to_async(backend_for)()
        sending = asyncio.create_task(backend.asend_messages(messages))
        begun.append(asyncio.Event())
        await begun[0].wait()
        while not sending.done():
            sending.cancel()
            for _ in range(pauses):
                await asyncio.sleep(0)
        await async_registry.aclose()
        return messages

    with Sink() as server:
        use_mail(host=server.host, port=server.port, **options)
        post_send.connect(record)
        send_failed.connect(record)
        try:
            messages = asyncio.run(main())
        finally:
            post_send.disconnect(record)
            send_failed.disconnect(record)
    sent = [to for received in server.messages for to in received.rcpt_tos]
    assert sorted(each.to[0] for each in messages if receipt_of(each)) == sorted(sent)
    assert len(ends) == len(set(ends))
    assert set(sent) <= set(ends)
    settled = [each for each in messages if each.send_error or receipt_of(each)]  # type: ignore[attr-defined]
    assert {each.to[0] for each in settled} == set(ends)


def test_a_second_cancellation_changes_neither_the_error_nor_the_signal(use_mail: Use) -> None:
    entered: list[asyncio.Event] = []
    ends: list[Outcome] = []

    async def record(message: EmailMessage, error: Any, **more: Any) -> None:
        entered[0].set()
        await asyncio.sleep(0.05)
        ends.append(error.outcome)

    async def main() -> None:
        entered.append(asyncio.Event())
        left = message()
        sending = asyncio.create_task(asend(left))
        await asyncio.to_thread(sink.wait, lambda: sink.open_connections == 1)
        await asyncio.sleep(0.1)
        sending.cancel()
        await entered[0].wait()  # the outcome is known, and its signal is being sent
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sending
        assert caught.value.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]
        assert left.send_error is caught.value  # type: ignore[attr-defined]
        await async_registry.aclose()

    with Sink() as sink:
        sink.stall("MAIL")
        use_mail(host=sink.host, port=sink.port)
        send_failed.connect(record)
        try:
            asyncio.run(main())
        finally:
            send_failed.disconnect(record)
    assert ends == [Outcome.NOT_SENT]


def test_health_and_statistics_include_the_connections_of_event_loops(mail: MailServer) -> None:
    async def main() -> None:
        before = len(mail_stats())
        assert (await acheck_mail()).is_ok
        assert (await acheck_mail()).server == f"{mail.host}:{mail.port}"
        await asend(message())
        assert mail.connections == 1
        *_, stats = mail_stats()
        assert len(mail_stats()) == before + 1
        assert (stats.pool.idle, stats.messages) == (1, {Outcome.ACCEPTED: 1})
        assert await asyncio.to_thread(mail_stats) == mail_stats()

    asyncio.run(main())


def test_a_health_check_in_a_loop_says_why_mail_cannot_be_sent(use_mail: Use) -> None:
    use_mail(host="127.0.0.1", port=free_port())
    health = asyncio.run(acheck_mail())
    assert not health.is_ok
    assert "SMTPConnectionError" in str(health.error)
