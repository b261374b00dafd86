"""The option ``suppression``: who gets no mail, and how a sender learns of it."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Collection, Mapping
from email.message import EmailMessage
from typing import Any

import pytest

from mailbackends import (
    ConfigurationError,
    Email,
    InvalidAddressError,
    Mailer,
    Outcome,
    Receipt,
    RecipientsSuppressed,
    Submission,
    SuppressionError,
)
from mailbackends.events import MessageFailed, MessageSent
from mailbackends.suppression import Reason, Suppression
from support.sink import Sink


class Listed:
    """A suppression list that counts how often it was asked."""

    def __init__(self, **streams: list[str]) -> None:
        self.streams = streams
        self.questions: list[tuple[list[str], str | None]] = []
        self.failure: Exception | None = None

    def suppressed(
        self, addresses: Collection[str], stream: str | None
    ) -> Mapping[str, Suppression]:
        self.questions.append((list(addresses), stream))
        if self.failure is not None:
            raise self.failure
        scopes = ["all", *([stream] if stream else [])]
        return {
            address: Suppression(address, Reason.UNSUBSCRIBED, scope)
            for scope in scopes
            for address in addresses
            if address in self.streams.get(scope, ())
        }


def message(*to: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "shop@example.com"
    made["To"] = ", ".join(to)
    made["Subject"] = "News"
    made.set_content("Hello")
    return made


ADA, BEN, CAT = "ada@example.net", "ben@example.net", "cat@example.net"


def test_a_suppressed_recipient_is_left_out_and_the_receipt_says_so() -> None:
    events: list[Any] = []
    with Sink() as sink:
        listed = Listed(newsletter=[BEN])
        with Mailer(sink.url, suppression=listed, on_event=events.append) as mailer:
            receipt = mailer.send_message(message(ADA, BEN), stream="newsletter")
        assert [each.rcpt_tos for each in sink.messages] == [(ADA,)]
    assert receipt.accepted == (ADA,)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.outcomes == {ADA: Outcome.ACCEPTED, BEN: Outcome.SUPPRESSED}
    shown = json.loads(json.dumps(receipt.as_dict()))["suppressed"][BEN]
    assert (shown["reason"], shown["scope"]) == ("unsubscribed", "newsletter")
    assert f"<{BEN}> suppressed: unsubscribed, for the stream 'newsletter'" in str(receipt)
    assert listed.questions == [([ADA, BEN], "newsletter")]
    [sent] = [each for each in events if isinstance(each, MessageSent)]
    assert (sent.accepted, sent.suppressed) == (1, 1)


def test_other_streams_still_reach_who_has_left_one() -> None:
    with Sink() as sink:
        with Mailer(sink.url, suppression=Listed(newsletter=[ADA])) as mailer:
            assert mailer.send_message(message(ADA), stream="password_reset").accepted == (ADA,)
            assert mailer.send_message(message(ADA)).accepted == (ADA,)
        assert len(sink.messages) == 2


def test_a_message_without_recipients_left_is_not_sent() -> None:
    events: list[Any] = []
    with Sink() as sink:
        with Mailer(sink.url, suppression=Listed(all=[ADA, BEN]), on_event=events.append) as mailer:
            with pytest.raises(RecipientsSuppressed) as caught:
                mailer.send_message(message(ADA, BEN))
            assert mailer.stats().messages == {Outcome.SUPPRESSED: 1}
        assert sink.connections == 0
    error = caught.value
    assert error.outcome is Outcome.SUPPRESSED
    assert not error.is_transient
    assert error.suppressed.keys() == {ADA, BEN}
    assert "all 2 recipients are suppressed" in str(error)
    assert str(error).endswith("nothing was sent")
    assert error.as_dict()["suppressed"][ADA]["reason"] == "unsubscribed"
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert copied.suppressed == error.suppressed
    [failed] = [each for each in events if isinstance(each, MessageFailed)]
    assert (failed.outcome, failed.recipients) == (Outcome.SUPPRESSED, 2)
    # Events contain no address.
    assert ADA not in str(failed)


def test_the_error_survives_a_result_backend_that_keeps_only_its_text() -> None:
    error = RecipientsSuppressed("the recipient is suppressed")
    assert error.outcome is Outcome.SUPPRESSED
    assert "the recipient is suppressed" in str(error)


def test_a_batch_asks_once_for_each_stream_and_goes_on() -> None:
    with Sink() as sink:
        listed = Listed(newsletter=[BEN], all=[CAT])
        people = [ADA, BEN, CAT, *(f"n{number}@example.net" for number in range(97))]
        with Mailer(sink.url, suppression=listed) as mailer:
            outcomes = mailer.send_messages(
                [Submission(message(to), stream="newsletter") for to in people]
            )
        assert len(sink.messages) == 98
    assert [type(each) for each in outcomes[:4]] == [
        Receipt, RecipientsSuppressed, RecipientsSuppressed, Receipt,
    ]  # fmt: skip
    assert listed.questions == [(people, "newsletter")]


def test_several_streams_in_one_batch_are_one_question_each() -> None:
    with Sink() as sink:
        listed = Listed(newsletter=[ADA])
        with Mailer(sink.url, suppression=listed) as mailer:
            outcomes = mailer.send_messages(
                [
                    Submission(message(ADA, BEN), stream="newsletter"),
                    Submission(message(ADA), stream="orders"),
                    Submission(message(CAT), stream="newsletter"),
                    message(ADA),
                ]
            )
    assert [each.outcome for each in outcomes] == [Outcome.ACCEPTED] * 4
    assert listed.questions == [([ADA, BEN, CAT], "newsletter"), ([ADA], "orders"), ([ADA], None)]


@pytest.mark.parametrize("options", [{}, {"batch_connections": 3}, {"batch_pipeline": 8}], ids=str)
def test_every_way_to_send_a_batch_leaves_them_out(options: dict[str, Any]) -> None:
    people = [f"n{number}@example.net" for number in range(20)]
    gone = set(people[::3])
    with Sink() as sink:
        listed = Listed(all=list(gone))
        with Mailer(sink.url, suppression=listed, **options) as mailer:
            mailer.send_message(message(ADA))  # so that pipelining has a connection that is known
            outcomes = mailer.send_messages([message(to) for to in people])
            assert len(listed.questions) == 2
            lazily = list(mailer.stream_messages(message(to) for to in people))
        received = [each.rcpt_tos[0] for each in sink.messages]
    wanted = [Outcome.SUPPRESSED if to in gone else Outcome.ACCEPTED for to in people]
    assert [each.outcome for each in outcomes] == wanted
    assert [each.outcome for each in lazily] == wanted
    assert sorted(received) == sorted([ADA, *[to for to in people if to not in gone] * 2])


def test_a_batch_of_suppressed_recipients_opens_no_connection() -> None:
    with Sink() as sink:
        with Mailer(sink.url, suppression=Listed(all=[ADA]), batch_pipeline=4) as mailer:
            outcomes = mailer.send_messages([message(ADA)] * 5)
        assert sink.connections == 0
    assert {each.outcome for each in outcomes} == {Outcome.SUPPRESSED}


def test_a_list_that_cannot_be_asked_sends_nothing() -> None:
    with Sink() as sink:
        listed = Listed()
        listed.failure = OSError(f"SELECT ... WHERE address = '{ADA}'")
        with Mailer(sink.url, suppression=listed) as mailer:
            with pytest.raises(SuppressionError, match="could not be asked") as caught:
                mailer.send_message(message(ADA))
            outcomes = mailer.send_messages([message(ADA), message(BEN)])
        assert sink.connections == 0
    assert caught.value.__cause__ is listed.failure
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.is_transient
    assert ADA not in str(caught.value)
    assert [type(each) for each in outcomes] == [SuppressionError] * 2


def test_a_message_that_cannot_be_sent_at_all_does_not_stop_the_batch() -> None:
    with Sink() as sink:
        listed = Listed(all=[BEN])
        with Mailer(sink.url, suppression=listed) as mailer:
            outcomes = mailer.send_messages(
                [
                    Submission(b"x", "shop@example.com", ["not one address"]),
                    message(BEN),
                    message(ADA),
                ]
            )
    assert [type(each) for each in outcomes] == [
        InvalidAddressError, RecipientsSuppressed, Receipt,
    ]  # fmt: skip
    assert listed.questions == [([BEN, ADA], None)]


def test_a_caller_that_has_asked_already_is_trusted() -> None:
    entry = Suppression(BEN, Reason.MANUAL)
    with Sink() as sink:
        listed = Listed()
        with Mailer(sink.url, suppression=listed) as mailer:
            [receipt] = mailer.send_messages(
                [Submission(message(ADA, BEN), suppressed={BEN: entry})]
            )
    assert listed.questions == []
    assert receipt.suppressed == {BEN: entry}


def test_a_suppressed_message_takes_nothing_of_the_rate() -> None:
    with Sink() as sink:
        listed = Listed(all=[BEN])
        with Mailer(sink.url, suppression=listed, rate="1/hour", deadline=1) as mailer:
            assert [each.outcome for each in mailer.send_messages([message(BEN)] * 3)] == [
                Outcome.SUPPRESSED
            ] * 3
            assert mailer.send_message(message(ADA)).accepted == (ADA,)


def test_a_pinned_connection_asks_too() -> None:
    with Sink() as sink:
        listed = Listed(newsletter=[BEN])
        with Mailer(sink.url, suppression=listed) as mailer, mailer.hold() as pinned:
            email = Email(subject="News", sender="shop@example.com", to=[ADA, BEN], text="Hello")
            assert pinned.send_message(email, stream="newsletter").suppressed.keys() == {BEN}


def test_an_object_that_is_no_list_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"suppressed\(addresses, stream\), got set"):
        Mailer("smtp://localhost", suppression={ADA})


def test_without_the_option_nobody_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    with Sink() as sink, caplog.at_level(logging.DEBUG), Mailer(sink.url) as mailer:
        receipt = mailer.send_message(message(ADA), stream="newsletter")
    assert receipt.suppressed == {}
