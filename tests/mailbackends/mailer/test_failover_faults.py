"""Failover if the first server breaks off at any byte: nothing is lost or sent twice."""

from __future__ import annotations

from collections import Counter
from email.message import EmailMessage

import pytest

from mailbackends import Mailer, Outcome, SMTPException
from support.sink import Sink

WAYS = {
    "one flight": ("PIPELINING", "CHUNKING", "SIZE 100000"),
    "a group": ("PIPELINING", "SIZE 100000"),
    "lock-step": ("SIZE 100000",),
}


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"] = "from@example.com"
    made["To"] = "one@example.com, two@example.com"
    made.set_content("Hello.\n")
    return made


def dialogue(extensions: tuple[str, ...]) -> tuple[int, int]:
    """How many bytes the server receives and sends for one message."""
    with Sink(extensions=extensions) as sink:
        with Mailer(sink.url) as mailer:
            mailer.send_message(message())
        sink.wait(lambda: sink.open_connections == 0)
        return len(sink.received()), len(sink.sent())


@pytest.mark.parametrize("direction", ["received", "sent"])
@pytest.mark.parametrize("way", WAYS.keys())
def test_the_message_is_at_one_server_or_its_outcome_is_unknown(way: str, direction: str) -> None:
    extensions = WAYS[way]
    received, sent = dialogue(extensions)
    ends: Counter[Outcome | None] = Counter()
    with Sink(extensions=extensions) as two:
        for offset in range(received if direction == "received" else sent):
            before = len(two.messages)
            with Sink(extensions=extensions) as one, Mailer([one.url, two.url]) as mailer:
                if direction == "received":
                    one.cut(received=offset)
                else:
                    one.cut(sent=offset)
                try:
                    outcome: Outcome | None = mailer.send_message(message()).outcome
                except SMTPException as error:
                    outcome = error.outcome
            copies = len(one.messages), len(two.messages) - before
            ends[outcome] += 1
            if outcome is Outcome.ACCEPTED:
                assert sum(copies) == 1, f"{copies} copies after a cut at {offset}"
            else:
                # The next server works: only a message with an unknown outcome may not go there.
                assert outcome is Outcome.UNKNOWN, f"{outcome} after a cut at {offset}"
                assert copies in ((0, 0), (1, 0)), f"{copies} copies after a cut at {offset}"
    assert ends[Outcome.ACCEPTED] > 20
