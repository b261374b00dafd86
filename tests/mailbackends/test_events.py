"""Events: what they contain, what they never contain, and hooks that raise."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from mailbackends import events
from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from mailbackends.events import (
    ConnectionOpened,
    ConnectionRetired,
    ConnectionReused,
    Event,
    EventSink,
    MessageFailed,
    MessageSent,
    error_type,
    guarded,
    subscribe,
)

OPENED = ConnectionOpened(duration=0.5)


def test_an_event_is_a_value():
    assert ConnectionOpened(duration=0.5) == OPENED
    assert hash(OPENED) == hash(ConnectionOpened(duration=0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPENED.duration = 1.0


def test_the_event_of_a_sent_message_counts_its_recipients():
    event = MessageSent(accepted=2, refused=1, size=2048, duration=0.1, is_reused=True)
    assert event.outcome is Outcome.ACCEPTED


def test_the_event_of_a_failure_has_the_reply_and_the_outcome():
    error = SMTPDataError(452, b"4.3.1 Out of memory")
    error.outcome = Outcome.REFUSED
    assert MessageFailed.because_of(error, duration=1.0, recipients=3, size=10) == MessageFailed(
        outcome=Outcome.REFUSED,
        error_type="mailbackends.errors.SMTPDataError",
        reply_code=452,
        enhanced_status="4.3.1",
        is_transient=True,
        recipients=3,
        size=10,
        duration=1.0,
    )


def test_the_event_of_a_failure_without_a_reply_has_the_outcome_alone():
    event = MessageFailed.because_of(SMTPDeliveryUnknown("Connection lost"), duration=1.0)
    assert (event.outcome, event.reply_code, event.enhanced_status, event.is_transient) == (
        Outcome.UNKNOWN,
        None,
        None,
        False,
    )


def test_an_exception_of_another_library_has_no_outcome():
    event = MessageFailed.because_of(KeyboardInterrupt(), duration=1.0)
    assert (event.outcome, event.error_type) == (None, "KeyboardInterrupt")


@pytest.mark.parametrize(
    "error",
    [
        SMTPSenderRefused(550, b"5.7.1 <ann@example.com> may not", "ann@example.com"),
        SMTPRecipientsRefused({"ann@example.com": (550, b"5.1.1 no <ann@example.com> here")}),
        ValueError("ann@example.com"),
    ],
)
def test_a_failure_never_contains_an_address(error):
    assert "ann" not in repr(MessageFailed.because_of(error, duration=1.0))


@pytest.mark.parametrize(
    "event",
    [
        OPENED,
        ConnectionReused(messages=1, idle=2.0),
        ConnectionRetired(reason="age", messages=1, age=2.0),
        MessageSent(accepted=1, duration=0.1),
        MessageFailed.because_of(OSError(), duration=0.1),
    ],
)
def test_the_server_is_written_into_every_event(event):
    seen: list[Event] = []
    EventSink(seen.append, "mail.example.com", 587)(event)
    assert (seen[0].server_address, seen[0].server_port) == ("mail.example.com", 587)
    assert dataclasses.replace(seen[0], server_address=None, server_port=None) == event


@pytest.mark.parametrize(
    ("error", "name"),
    [(TimeoutError(), "TimeoutError"), (dataclasses.FrozenInstanceError(), "dataclasses.")],
)
def test_the_type_of_an_error_is_its_class_with_the_module_unless_builtin(error, name):
    assert error_type(error).startswith(name)


def test_no_hook_is_a_hook_that_does_nothing():
    guarded(None)(OPENED)


def test_a_hook_that_raises_is_logged_once_with_its_traceback(caplog):
    calls: list[Event] = []

    def hook(event: Event) -> None:
        calls.append(event)
        raise RuntimeError("broken hook")

    call = guarded(hook)
    for _ in range(3):
        call(OPENED)
    assert len(calls) == 3
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("mailbackends.pool", logging.WARNING)
    ]
    assert "broken hook" in caplog.text
    assert "ConnectionOpened" in caplog.text


def test_an_interrupt_passes_through_a_hook():
    def hook(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(hook)(OPENED)


def test_all_events_are_public():
    assert {kind.__name__ for kind in Event.__args__} <= set(events.__all__)


def test_a_subscriber_gets_the_events_of_every_server():
    mine: list[Event] = []
    everything: list[Event] = []
    before = EventSink(mine.append, "one.example.com", 25)
    unsubscribe = subscribe(everything.append)
    after = EventSink(None, "/run/lmtp", None)
    before(OPENED)
    after(OPENED)
    assert [event.server_address for event in everything] == ["one.example.com", "/run/lmtp"]
    assert mine == everything[:1]
    unsubscribe()
    unsubscribe()
    before(OPENED)
    assert (len(mine), len(everything)) == (2, 2)


def test_a_hook_that_fails_does_not_stop_the_others(caplog):
    def fail(event: Event) -> None:
        raise RuntimeError("no")

    seen: list[Event] = []
    unsubscribe = subscribe(seen.append)
    try:
        EventSink(fail)(OPENED)
    finally:
        unsubscribe()
    assert seen == [OPENED]
    assert "raised at ConnectionOpened" in caplog.text


def test_the_same_hook_may_subscribe_twice_and_each_is_ended_by_itself():
    seen: list[Event] = []
    first, second = subscribe(seen.append), subscribe(seen.append)
    EventSink(None)(OPENED)
    first()
    EventSink(None)(OPENED)
    second()
    assert len(seen) == 3


@pytest.mark.parametrize(
    "event",
    [
        OPENED,
        ConnectionReused(messages=1, idle=2.0),
        ConnectionRetired(reason="age", messages=1, age=2.0),
        MessageSent(accepted=2, duration=0.1),
        MessageFailed(outcome=Outcome.UNKNOWN, error_type="x", duration=0.1),
    ],
)
def test_as_dict_has_the_fields_in_jsons_types_and_names_the_class(event):
    shown = event.as_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["event"] == type(event).__name__
    assert shown.keys() >= {field.name for field in dataclasses.fields(event)}
    outcomes = {MessageSent: "accepted", MessageFailed: "unknown"}
    assert shown.get("outcome") == outcomes.get(type(event))
