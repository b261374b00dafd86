"""OpenTelemetry: spans for messages and new connections, and metrics for both.

For all Mailers of the process, including those of Django and Flask::

    from mailbackends import otel

    otel.instrument()

or for one Mailer::

    mailer = Mailer("smtps://mail.example.com", on_event=otel.OpenTelemetry())

Names follow the semantic conventions for messaging; a name that they
lack begins with ``mailbackends.``. No address, no part of a message and no secret is
recorded, because no event contains any. ``docs/observability.md`` lists all names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from mailbackends.events import (
    ConnectionChecked,
    ConnectionOpened,
    ConnectionRetired,
    ConnectionReused,
    Event,
    MessageFailed,
    MessageSent,
    UpkeepFailed,
    subscribe,
)

try:
    import opentelemetry.metrics as metrics
    import opentelemetry.trace as trace
except ImportError as _error:
    raise ImportError(
        'mailbackends.otel needs OpenTelemetry: python -m pip install "mailbackends[otel]"'
    ) from _error

__all__ = ["OpenTelemetry", "instrument", "uninstrument"]

Attributes: TypeAlias = dict[str, str | int | bool]

_SCOPE = "mailbackends"
_OPERATION: Attributes = {
    "messaging.system": "smtp",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
}

# The buckets that the conventions prescribe for messaging.client.operation.duration, in seconds.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class OpenTelemetry:
    """An event hook that records spans and metrics, for any number of Mailers.

    A span is the child of the span that is current where the message is sent.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """Without providers, those that the application sets globally are used."""
        ours = _version()
        self._tracer = trace.get_tracer(_SCOPE, ours, tracer_provider)
        meter = metrics.get_meter(_SCOPE, ours, meter_provider)
        self._sent = meter.create_counter(
            "messaging.client.sent.messages",
            unit="{message}",
            description="Attempts to send a message to a server.",
        )
        self._duration = meter.create_histogram(
            "messaging.client.operation.duration",
            unit="s",
            description="Time from the call to the outcome.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._recipients = meter.create_counter(
            "mailbackends.client.recipients",
            unit="{recipient}",
            description="Recipients, by outcome.",
        )
        self._connections = meter.create_up_down_counter(
            "mailbackends.client.connection.count",
            unit="{connection}",
            description="Connections that are open, idle or in use.",
        )
        self._create_time = meter.create_histogram(
            "mailbackends.client.connection.create_time",
            unit="s",
            description="Time to open a connection, including TLS and login.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._reused = meter.create_counter(
            "mailbackends.client.connection.reused",
            unit="{connection}",
            description="How often an open connection was used again.",
        )
        self._retired = meter.create_counter(
            "mailbackends.client.connection.retired",
            unit="{connection}",
            description="Connections that were closed, by reason.",
        )
        self._checked = meter.create_counter(
            "mailbackends.client.connection.checked",
            unit="{check}",
            description="Idle connections that upkeep has checked, by result.",
        )
        self._upkeep_failures = meter.create_counter(
            "mailbackends.client.upkeep.failures",
            unit="{attempt}",
            description="Attempts of upkeep to open a connection that failed.",
        )

    def __call__(self, event: Event) -> None:
        """Record one event."""
        server = _server(event)
        match event:
            case MessageSent():
                self._message(event, server, {})
            case MessageFailed():
                self._message(event, server, {"error.type": event.error_type})
            case ConnectionOpened():
                self._span("connect", server, event.duration, {})
                ahead: Attributes = {"mailbackends.is_ahead": event.is_ahead}
                self._create_time.record(event.duration, {**server, **ahead})
                self._connections.add(1, server)
            case ConnectionReused():
                self._reused.add(1, server)
            case ConnectionChecked():
                self._checked.add(1, {**server, "mailbackends.is_alive": event.is_alive})
            case UpkeepFailed():
                self._upkeep_failures.add(1, {**server, "error.type": event.error_type})
            case ConnectionRetired():
                self._retired.add(1, {**server, "mailbackends.reason": event.reason})
                self._connections.add(-1, server)

    def _message(
        self, event: MessageSent | MessageFailed, server: Attributes, error: Attributes
    ) -> None:
        labels = {**_OPERATION, **server, **error}
        self._duration.record(event.duration, labels)
        if server:
            # Not if no server was tried: the conventions count attempts.
            del labels["messaging.operation.type"]
            self._sent.add(1, labels)
        for outcome, count in _outcomes(event):
            if count:
                self._recipients.add(count, {**server, "mailbackends.outcome": outcome})
        details = {**_OPERATION, **error, **_details(event)}
        failure = str(event.outcome or "failed") if isinstance(event, MessageFailed) else None
        self._span("send", server, event.duration, details, failure)

    def _span(
        self,
        operation: str,
        server: Attributes,
        duration: float,
        attributes: Attributes,
        failure: str | None = None,
    ) -> None:
        """A span that ends now; ``duration`` is in seconds."""
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{operation} {_destination(server)}".rstrip(),
            kind=trace.SpanKind.CLIENT,
            attributes={**server, **attributes},
            start_time=end - round(duration * 1e9),
        )
        if failure is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, failure))
        span.end(end)


_lock = threading.Lock()
_uninstrument: list[Callable[[], None]] = []


def instrument(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Record what all Mailers of this process do, including those created later.

    Further calls have no effect until `uninstrument`.
    """
    with _lock:
        if not _uninstrument:
            hook = OpenTelemetry(tracer_provider=tracer_provider, meter_provider=meter_provider)
            _uninstrument.append(subscribe(hook))


def uninstrument() -> None:
    """Stop recording what `instrument` started."""
    with _lock:
        while _uninstrument:
            _uninstrument.pop()()


def _version() -> str:
    try:
        return version(_SCOPE)
    except PackageNotFoundError:  # not installed
        return ""


def _server(event: Event) -> Attributes:
    if event.server_address is None:
        return {}
    if event.server_port is None:
        return {"server.address": event.server_address}
    return {"server.address": event.server_address, "server.port": event.server_port}


def _destination(server: Attributes) -> str:
    return ":".join(str(part) for part in server.values())


def _outcomes(event: MessageSent | MessageFailed) -> tuple[tuple[str, int], ...]:
    if isinstance(event, MessageSent):
        counts = (event.accepted, event.refused, event.suppressed)
        return tuple(zip(("accepted", "refused", "suppressed"), counts, strict=True))
    return ((str(event.outcome or "not_sent"), event.recipients),)


def _details(event: MessageSent | MessageFailed) -> Attributes:
    """The attributes with too many values for a metric."""
    details: Attributes = {"mailbackends.is_final": event.is_final}
    if event.outcome is not None:
        details["mailbackends.outcome"] = str(event.outcome)
    if event.size is not None:
        details["messaging.message.body.size"] = event.size
    if isinstance(event, MessageSent):
        details["mailbackends.recipients.accepted"] = event.accepted
        details["mailbackends.recipients.refused"] = event.refused
        details["mailbackends.recipients.suppressed"] = event.suppressed
        return details
    details["mailbackends.recipients"] = event.recipients
    if event.reply_code is not None:
        details["mailbackends.reply.code"] = event.reply_code
    if event.enhanced_status is not None:
        details["mailbackends.reply.enhanced_status"] = event.enhanced_status
    return details
