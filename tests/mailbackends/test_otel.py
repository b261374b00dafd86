"""OpenTelemetry: what the real SDK records, under which names, and what is never recorded."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from mailbackends import Mailer, Outcome, RateLimited, SMTPDeliveryUnknown, SMTPRecipientsRefused
from support.background import until
from support.sink import Sink

WITHOUT = "OpenTelemetry is not installed here: mailbackends[otel] and opentelemetry-sdk"
pytest.importorskip("opentelemetry.sdk", reason=WITHOUT)

from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import (  # noqa: E402
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

from mailbackends import otel  # noqa: E402

SENDER, TO = "sender.person@example.com", "receiving.person@example.com"


def message(*to: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = SENDER
    made["To"] = ", ".join(to or (TO,))
    made["Subject"] = "private subject"
    made["Message-ID"] = "<private-id@example.com>"
    made.set_content("private words\n")
    return made


class Recorded:
    """Providers of the real SDK that record everything."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader])

    def hook(self) -> otel.OpenTelemetry:
        return otel.OpenTelemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def points(self) -> dict[str, list[NumberDataPoint | HistogramDataPoint]]:
        """The data points by the name of their metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)  # type: ignore[arg-type]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(self, name: str, label: str) -> dict[object, float]:
        """The values of a counter by one of its attributes."""
        found: dict[object, float] = {}
        for point in self.points.get(name, ()):
            assert isinstance(point, NumberDataPoint)
            found[(point.attributes or {}).get(label)] = point.value
        return found

    def everything(self) -> str:
        data = self._reader.get_metrics_data()
        return " ".join([span.to_json() for span in self.spans] + [data.to_json() if data else ""])


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(extensions=("PIPELINING", "SIZE 10000", "ENHANCEDSTATUSCODES")) as sink:
        yield sink


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[None]:
    otel.instrument(
        tracer_provider=recorded.tracer_provider, meter_provider=recorded.meter_provider
    )
    yield
    otel.uninstrument()


def test_a_message_is_a_client_span_by_the_conventions_for_messaging(
    recorded: Recorded, sink: Sink
) -> None:
    with Mailer(sink.url, on_event=recorded.hook()) as mailer:
        mailer.send_message(message())
    connect, send = recorded.spans
    assert (connect.name, send.name) == (
        f"connect 127.0.0.1:{sink.port}",
        f"send 127.0.0.1:{sink.port}",
    )
    assert send.kind is SpanKind.CLIENT
    assert send.status.status_code is StatusCode.UNSET
    assert dict(send.attributes or {}) == {
        "messaging.system": "smtp",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.body.size": len(sink.message.content),
        "server.address": "127.0.0.1",
        "server.port": sink.port,
        "mailbackends.outcome": "accepted",
        "mailbackends.is_final": True,
        "mailbackends.recipients.accepted": 1,
        "mailbackends.recipients.refused": 0,
        "mailbackends.recipients.suppressed": 0,
    }


def test_the_span_of_a_message_includes_that_of_its_connection(
    recorded: Recorded, sink: Sink
) -> None:
    with Mailer(sink.url, on_event=recorded.hook()) as mailer:
        mailer.send_message(message())
    connect, send = recorded.spans
    assert send.start_time is not None
    assert send.end_time is not None
    assert connect.start_time is not None
    assert connect.end_time is not None
    # Each begins by its own duration before its end, and the ends follow one another. Where
    # a busy machine holds the hook up the beginnings move with them.
    assert connect.end_time <= send.end_time
    assert connect.end_time - connect.start_time < send.end_time - send.start_time


def test_the_parent_is_the_span_in_which_the_message_was_sent(
    recorded: Recorded, sink: Sink
) -> None:
    tracer = recorded.tracer_provider.get_tracer("application")
    with Mailer(sink.url, batch_connections=2, on_event=recorded.hook()) as mailer:
        with tracer.start_as_current_span("view") as view:
            mailer.send_message(message())
        with tracer.start_as_current_span("newsletter") as newsletter:
            list(mailer.stream_messages(message() for _ in range(3)))
    parents = [
        span.parent.span_id if span.parent else None
        for span in recorded.spans
        if span.name.startswith("send ")
    ]
    assert parents[0] == view.get_span_context().span_id
    assert set(parents[1:]) == {newsletter.get_span_context().span_id}
    assert len(parents) == 4


def test_a_failure_is_recorded_with_its_type_outcome_and_reply_code(
    recorded: Recorded, sink: Sink
) -> None:
    sink.refuse(TO, f"550 5.1.1 <{TO}> is unknown here", times=1)
    with Mailer(sink.url, on_event=recorded.hook()) as mailer:
        with pytest.raises(SMTPRecipientsRefused):
            mailer.send_message(message())
        sink.hang_up("content")
        with pytest.raises(SMTPDeliveryUnknown):
            mailer.send_message(message())
    refused, unknown = (span for span in recorded.spans if span.name.startswith("send "))
    assert refused.status.status_code is unknown.status.status_code is StatusCode.ERROR
    assert (refused.status.description, unknown.status.description) == ("refused", "unknown")
    attributes = dict(refused.attributes or {})
    assert attributes["error.type"] == "mailbackends.errors.SMTPRecipientsRefused"
    assert attributes["mailbackends.outcome"] == "refused"
    assert attributes["mailbackends.reply.code"] == 550
    assert attributes["mailbackends.reply.enhanced_status"] == "5.1.1"
    assert attributes["mailbackends.recipients"] == 1


def test_each_server_that_was_tried_has_its_own_span(recorded: Recorded, sink: Sink) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = sock.getsockname()[1]
    servers = [f"smtp://127.0.0.1:{closed}", sink.url]
    with Mailer(servers, on_event=recorded.hook()) as mailer:
        mailer.send_message(message())
    tries = [dict(span.attributes or {}) for span in recorded.spans if "send" in span.name]
    assert [each["server.port"] for each in tries] == [closed, sink.port]
    assert [each["mailbackends.is_final"] for each in tries] == [False, True]
    assert recorded.values("messaging.client.sent.messages", "error.type") == {
        "mailbackends.errors.SMTPConnectionError": 1,
        None: 1,
    }


def test_messages_their_duration_and_their_recipients_are_counted(
    recorded: Recorded, sink: Sink
) -> None:
    sink.refuse("other@example.com", "550 5.1.1 no")
    with Mailer(sink.url, on_event=recorded.hook()) as mailer:
        mailer.send_message(message())
        mailer.send_message(message(TO, "other@example.com"))
        with pytest.raises(SMTPRecipientsRefused):
            mailer.send_message(message("other@example.com"))
    error = "mailbackends.errors.SMTPRecipientsRefused"
    points = recorded.points
    sent = {
        dict(p.attributes or {}).get("error.type"): p
        for p in points["messaging.client.sent.messages"]
    }
    assert {key: point.value for key, point in sent.items()} == {None: 2, error: 1}  # type: ignore[union-attr]
    assert dict(sent[None].attributes or {}) == {
        "messaging.system": "smtp",
        "messaging.operation.name": "send",
        "server.address": "127.0.0.1",
        "server.port": sink.port,
    }
    durations = points["messaging.client.operation.duration"]
    assert sorted(point.count for point in durations) == [1, 2]  # type: ignore[union-attr]
    assert durations[0].explicit_bounds[0] == 0.005  # type: ignore[union-attr]
    assert recorded.values("mailbackends.client.recipients", "mailbackends.outcome") == {
        "accepted": 2,
        "refused": 2,
    }


def test_connections_are_counted_open_reused_and_retired(recorded: Recorded, sink: Sink) -> None:
    prefix = "mailbackends.client.connection."
    with Mailer(sink.url, max_messages_per_connection=2, on_event=recorded.hook()) as mailer:
        for _ in range(3):
            mailer.send_message(message())
        assert recorded.values(f"{prefix}count", "server.port") == {sink.port: 1}
        assert recorded.values(f"{prefix}reused", "server.port") == {sink.port: 1}
    assert recorded.values(f"{prefix}count", "server.port") == {sink.port: 0}
    assert recorded.values(f"{prefix}retired", "mailbackends.reason") == {
        "messages": 1,
        "closed": 1,
    }
    (created,) = recorded.points[f"{prefix}create_time"]
    assert isinstance(created, HistogramDataPoint)
    assert created.count == 2


def test_upkeep_is_counted(recorded: Recorded, sink: Sink) -> None:
    prefix = "mailbackends.client."
    with Mailer(sink.url, min_idle=1, max_idle=3.0, on_event=recorded.hook()) as mailer:
        assert mailer.warm_up(10) == 1
        until(lambda: f"{prefix}connection.checked" in recorded.points)
        checked = recorded.values(f"{prefix}connection.checked", "mailbackends.is_alive")
        assert checked == {True: 1}
        created = recorded.points[f"{prefix}connection.create_time"]
        assert [(point.attributes or {})["mailbackends.is_ahead"] for point in created] == [True]
    sink.stop()
    with Mailer(sink.url, min_idle=1, on_event=recorded.hook()) as mailer:
        assert mailer.warm_up(10) == 0
        until(lambda: f"{prefix}upkeep.failures" in recorded.points)
        error = "mailbackends.errors.SMTPConnectionError"
        assert recorded.values(f"{prefix}upkeep.failures", "error.type") == {error: 1}


def test_a_message_without_an_attempt_has_a_span_and_is_not_counted(
    recorded: Recorded, sink: Sink
) -> None:
    with Mailer(sink.url, rate="1/hour", deadline=1.0, on_event=recorded.hook()) as mailer:
        mailer.send_message(message())
        with pytest.raises(RateLimited):
            mailer.send_message(message())
        assert mailer.stats().messages == {Outcome.ACCEPTED: 1, Outcome.NOT_SENT: 1}
    held_back = recorded.spans[-1]
    assert held_back.name == "send"
    assert "server.address" not in (held_back.attributes or {})
    assert recorded.values("messaging.client.sent.messages", "error.type") == {None: 1}


@pytest.mark.usefixtures("instrumented")
def test_instrument_records_all_mailers_once_however_often_it_is_called(
    recorded: Recorded, sink: Sink
) -> None:
    otel.instrument()
    with Mailer(sink.url) as one, Mailer(sink.url) as two:
        one.send_message(message())
        two.send_message(message())
        otel.uninstrument()
        one.send_message(message())
    assert len([span for span in recorded.spans if "send" in span.name]) == 2


def test_no_address_no_content_and_no_secret_is_recorded(recorded: Recorded) -> None:
    login = ("somebody@example.com", "hunter2")
    with Sink(login=login) as sink:
        sink.refuse("refused.person@example.com", "550 5.1.1 refused.person@example.com is gone")
        sink.refuse_content(f"554 5.6.0 {TO} wants no private words", times=1)
        with Mailer(sink.url, on_event=recorded.hook()) as mailer:
            list(mailer.stream_messages([message(), message(TO, "refused.person@example.com")]))
            list(mailer.stream_messages([message("refused.person@example.com")]))
        wrong = sink.url.replace("hunter2", "wrong-hunter2")
        with Mailer(wrong, on_event=recorded.hook()) as mailer:
            list(mailer.stream_messages([message()]))
    everything = recorded.everything()
    assert "send 127.0.0.1" in everything
    assert "SMTPAuthenticationError" in everything
    for private in ("person", "private", "somebody", "hunter2", "example.com"):
        assert private not in everything


def test_without_opentelemetry_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import mailbackends\n"
        "try:\n    import mailbackends.otel\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == (
        'mailbackends.otel needs OpenTelemetry: python -m pip install "mailbackends[otel]"'
    )
