"""The same conversation by `Mailer` and by `AsyncMailer`: the same bytes, events and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mailbackends import Mailer as BlockingMailer
from mailbackends import SMTPException, Submission
from mailbackends.events import Event
from support import certs
from support.awaited import awaited_mailers
from support.sink import EXTENSIONS, Sink

GROUP = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = ("8BITMIME",)
EACH = pytest.mark.parametrize(
    "extensions", [EXTENSIONS, GROUP, PLAIN], ids=["bdat", "group", "plain"]
)


@pytest.fixture
def faces() -> Iterator[list[Callable[..., Any]]]:
    """`Mailer`, and `AsyncMailer` with its interface."""
    with awaited_mailers(debug=True) as awaited:
        yield [BlockingMailer, awaited]


def described(event: Event) -> dict[str, Any]:
    varying = {"duration", "idle", "age", "server_port"}
    fields = {name: getattr(event, name) for name in type(event).__dataclass_fields__}
    return {"event": type(event), **{k: v for k, v in fields.items() if k not in varying}}


def conversation(face: Callable[..., Any], sinks: list[Sink], given: list[Any], **options: Any):
    """What came of the messages, and all that the servers received and the Mailer reported."""
    events: list[Event] = []
    urls = [sink.url.replace("smtp://", f"{'lmtp' if sink.lmtp else 'smtp'}://") for sink in sinks]
    with face(urls, on_event=events.append, **options) as mailer:
        results = mailer.send_messages(given)
    for sink in sinks:
        sink.wait(lambda sink=sink: sink.open_connections == 0)
    received = [[sink.received(n) for n in range(sink.connections)] for sink in sinks]
    outcomes = [(type(each), getattr(each, "outcome", None)) for each in results]
    errors = [each.is_transient for each in results if isinstance(each, SMTPException)]
    return outcomes, errors, received, [described(event) for event in events]


def compare(faces: list[Callable[..., Any]], prepare: Callable[..., Any], **options: Any) -> Any:
    seen = []
    for face in faces:
        with ExitStack() as stack:
            sinks, given = prepare(stack)
            seen.append(conversation(face, sinks, given, **options))
    blocking, awaited = seen
    assert awaited == blocking
    return blocking


@EACH
@pytest.mark.parametrize("reply", ["552 5.2.2 full", "421 4.3.2 closing", "450 4.2.1 later"])
def test_lmtp_with_one_reply_for_each_recipient(message, faces, extensions, reply) -> None:
    def prepare(stack: ExitStack) -> Any:
        sink = stack.enter_context(Sink(lmtp=True, extensions=extensions))
        sink.refuse_delivery("b@example.com", reply)
        three = ["a@example.com", "b@example.com", "c@example.com"]
        return [sink], [message(*three), message("c@example.com"), message(*three)]

    outcomes, *_ = compare(faces, prepare)
    assert len(outcomes) == 3


@EACH
@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",)], ids=lambda names: names[0])
def test_tls_and_login(message, faces, extensions, tls: Any, mechanisms) -> None:
    def prepare(stack: ExitStack) -> Any:
        sink = Sink(
            extensions=extensions,
            tls=tls,
            login=("shop", "secret"),
            require_login=True,
            mechanisms=mechanisms,
        )
        return [stack.enter_context(sink)], [message(), message()]

    compare(faces, prepare, ssl_cafile=certs.cafile())


@pytest.mark.parametrize("script", ["STARTTLS 454 4.7.0 no", "AUTH 535 5.7.8 no", "AUTH 454 4.7.0"])
def test_tls_and_login_that_are_refused(message, faces, script: str) -> None:
    def prepare(stack: ExitStack) -> Any:
        sink = Sink(tls="starttls", login=("shop", "secret"), require_login=True)
        verb, _, reply = script.partition(" ")
        sink.answer(verb, reply, times=None)
        return [stack.enter_context(sink)], [message(), message()]

    outcomes, *_ = compare(faces, prepare)
    assert {outcome for _, outcome in outcomes} == {"not_sent"}


@EACH
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "content"])
@pytest.mark.parametrize("strategy", ["ordered", "round_robin"])
def test_failover(message, faces, extensions, verb: str, strategy: str) -> None:
    def prepare(stack: ExitStack) -> Any:
        sinks = [stack.enter_context(Sink(extensions=extensions)) for _ in range(2)]
        sinks[0].answer(verb, "451 4.3.0 not now", times=2)
        return sinks, [message(f"{number}@example.com") for number in range(4)]

    compare(faces, prepare, strategy=strategy)


@pytest.mark.parametrize("options", [{"rate": "2/1 hour", "deadline": 1.0}, {"deadline": 5.0}])
def test_a_rate_that_is_used_up(message, faces, options: dict[str, Any]) -> None:
    def prepare(stack: ExitStack) -> Any:
        bad = Submission(message(), from_addr="a\0b@example.com")
        return [stack.enter_context(Sink())], [message(), bad, message(), message()]

    compare(faces, prepare, **options)
