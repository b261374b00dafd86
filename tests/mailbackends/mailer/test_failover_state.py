"""`Failover`: which recipients go on to the next server, and what the caller gets in the end."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import (
    Outcome,
    PoolClosed,
    PoolTimeout,
    SMTPAuthenticationError,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from mailbackends.mailer.recipients import Failover
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

A, B, C = "a@example.com", "b@example.com", "c@example.com"
OK = Reply(250, (b"2.0.0 queued",))
LATER = Reply(450, (b"4.2.0 later",))
NEVER = Reply(550, (b"5.1.1 no such user",))


def not_sent(where: str = "one:25") -> SMTPException:
    error = SMTPConnectionError("nobody listens")
    error.outcome, error.server = Outcome.NOT_SENT, where
    return error


def refused(error: SMTPException, where: str = "one:25", **others: Reply) -> SMTPException:
    error.outcome, error.server = Outcome.REFUSED, where
    if others:
        error.refused = {f"{name}@example.com": reply for name, reply in others.items()}
    return error


def nobody(where: str = "one:25", **replies: Reply) -> SMTPRecipientsRefused:
    error = SMTPRecipientsRefused(
        {f"{name}@example.com": (r.code, r.message) for name, r in replies.items()}
    )
    error.outcome, error.server = Outcome.REFUSED, where
    return error


def unknown(*recipients: str, accepted: tuple[str, ...] = ()) -> SMTPDeliveryUnknown:
    error = SMTPDeliveryUnknown("gone")
    error.unknown, error.accepted, error.server = recipients, accepted, "two:25"
    return error


@pytest.mark.parametrize(
    "error",
    [
        not_sent(),
        PoolTimeout("busy"),
        refused(SMTPSenderRefused(451, b"later", "me@example.com")),
        refused(SMTPDataError(452, b"disk full")),
        nobody(a=LATER, b=LATER),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_message_not_sent_or_refused_for_now_goes_on(error: SMTPException) -> None:
    journey = Failover((A, B))
    journey.failed(error)
    assert journey.left == (A, B)


def test_a_message_not_sent_for_a_permanent_reason_goes_on() -> None:
    """A password that one server refuses may be right for the next."""
    error = SMTPAuthenticationError(535, b"5.7.8 no")
    error.outcome = Outcome.NOT_SENT
    journey = Failover((A,))
    journey.failed(error)
    assert journey.left == (A,)


@pytest.mark.parametrize(
    "error",
    [
        unknown(A, B),
        PoolClosed("closed"),
        refused(SMTPSenderRefused(550, b"no", "me@example.com")),
        refused(SMTPDataError(554, b"spam")),
        refused(SMTPDataError(554, b"spam"), a=LATER),
        nobody(a=NEVER, b=NEVER),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unknown_or_permanently_refused_message_does_not_go_on(error: SMTPException) -> None:
    journey = Failover((A, B))
    journey.failed(error)
    assert journey.left == ()
    with pytest.raises(type(error)) as raised:
        journey.end()
    assert raised.value is error


def test_after_a_partial_refusal_only_temporarily_refused_recipients_go_on() -> None:
    journey = Failover((A, B, C))
    journey.delivered(Delivery([A], {B: LATER, C: NEVER}, OK))
    assert journey.left == (B,)


def test_a_permanently_refused_recipient_does_not_go_on_with_the_rest() -> None:
    journey = Failover((A, B))
    journey.failed(refused(SMTPDataError(451, b"later"), a=NEVER))
    assert journey.left == (B,)
    journey = Failover((A, B))
    journey.failed(nobody(a=NEVER, b=LATER))
    assert journey.left == (B,)


def test_replies_after_a_refused_sender_do_not_refuse_recipients() -> None:
    bad_sequence = Reply(503, (b"5.5.1 MAIL first",))
    journey = Failover((A, B))
    error = SMTPSenderRefused(451, b"later", "me@example.com")
    journey.failed(refused(error, a=bad_sequence, b=bad_sequence))
    assert journey.left == (A, B)
    with pytest.raises(SMTPSenderRefused) as raised:
        journey.end()
    assert raised.value.refused == {}


def test_receipts_of_several_servers_are_combined() -> None:
    journey = Failover((A, B, C))
    journey.delivered(Delivery([A], {B: LATER, C: NEVER}, OK))
    second = Reply(250, (b"queued elsewhere",))
    journey.delivered(Delivery([B], {}, second))
    assert journey.end() == Delivery([A, B], {C: NEVER}, second)


def test_a_recipient_accepted_at_one_server_keeps_the_receipt_whatever_the_next_replies() -> None:
    for error, told in (
        (not_sent("two:25"), LATER),
        (nobody("two:25", b=NEVER), NEVER),
        (refused(SMTPDataError(554, b"5.6.0 spam"), "two:25"), Reply(554, (b"5.6.0 spam",))),
        (refused(SMTPDataError(451, b"4.3.0 later"), "two:25"), Reply(451, (b"4.3.0 later",))),
    ):
        journey = Failover((A, B))
        journey.delivered(Delivery([A], {B: LATER}, OK))
        journey.failed(error)
        assert journey.end() == Delivery([A], {B: told}, OK)


def test_an_unknown_outcome_at_the_next_server_lists_who_was_served_before() -> None:
    journey = Failover((A, B, C))
    journey.delivered(Delivery([A], {B: LATER, C: NEVER}, OK))
    journey.failed(unknown(B))
    with pytest.raises(SMTPDeliveryUnknown) as raised:
        journey.end()
    assert raised.value.accepted == (A,)
    assert raised.value.unknown == (B,)
    assert raised.value.refused == {C: NEVER}


def test_the_last_error_is_raised_and_names_the_others_in_one_line() -> None:
    first, last = not_sent("one:25"), refused(SMTPDataError(452, b"disk full"), "two:25")
    journey = Failover((A,))
    journey.failed(first)
    journey.failed(last)
    with pytest.raises(SMTPDataError) as raised:
        journey.end()
    assert raised.value is last
    assert raised.value.earlier == (first,)
    assert str(raised.value) == (
        "content refused: 452 disk full [two:25]: the message was refused; "
        "before that: nobody listens [one:25]"
    )


def test_the_error_and_those_before_it_survive_pickling() -> None:
    journey = Failover((A, B))
    journey.failed(not_sent("one:25"))
    journey.failed(nobody("two:25", a=LATER, b=NEVER))
    with pytest.raises(SMTPRecipientsRefused) as raised:
        journey.end()
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert str(copy) == str(raised.value)
    assert [error.server for error in copy.earlier] == ["one:25"]
    assert copy.refused == {A: LATER, B: NEVER}


def test_recipients_refused_at_different_servers_are_reported_together() -> None:
    journey = Failover((A, B))
    journey.failed(nobody("one:25", a=NEVER, b=LATER))
    journey.failed(nobody("two:25", b=LATER))
    with pytest.raises(SMTPRecipientsRefused) as raised:
        journey.end()
    assert raised.value.refused == {A: NEVER, B: LATER}
    assert raised.value.recipients.keys() == {A, B}
    assert raised.value.server == "two:25"
    assert raised.value.outcome is Outcome.REFUSED


# --- nothing is sent twice, and each recipient is accounted for ------------------------------

_REPLIES = st.sampled_from([LATER, NEVER])


@st.composite
def answers(draw: st.DrawFn, left: tuple[str, ...]) -> Delivery | SMTPException:
    """What a server can do with a message for these recipients."""
    fates = draw(st.lists(st.sampled_from("akn"), min_size=len(left), max_size=len(left)))
    replies = {to: LATER if f == "k" else NEVER for to, f in zip(left, fates, strict=True)}
    served = [to for to, fate in zip(left, fates, strict=True) if fate == "a"]
    rest = {to: reply for to, reply in replies.items() if to not in served}
    kind = draw(st.sampled_from(["recipients", "not_sent", "unknown", "later", "never"]))
    if kind == "recipients" and served:
        return Delivery(served, rest, OK)
    if kind == "recipients":
        named = {to.partition("@")[0]: reply for to, reply in rest.items()}
        return nobody("one:25", **named)
    if kind == "not_sent":
        error = not_sent()
    elif kind == "unknown":
        return unknown(*left)
    else:
        error = refused(SMTPDataError(451 if kind == "later" else 554, b"no"))
    error.refused = rest if served else {}
    return error


@given(st.data())
def test_no_recipient_that_may_have_it_or_was_refused_permanently_is_sent_it_again(
    data: st.DataObject,
) -> None:
    everyone = (A, B, C)
    journey = Failover(everyone)
    served: set[str] = set()
    dark: set[str] = set()
    final: set[str] = set()
    for _ in range(3):
        if not journey.left:
            break
        assert not {*journey.left} & (served | dark | final)
        answer = data.draw(answers(journey.left))
        if isinstance(answer, Delivery):
            served.update(answer.accepted)
            final.update(to for to, reply in answer.refused.items() if reply.is_permanent)
            journey.delivered(answer)
        else:
            dark.update(getattr(answer, "unknown", ()))
            final.update(to for to, reply in answer.refused.items() if reply.is_permanent)
            journey.failed(answer)
    error, delivery = None, Delivery()
    try:
        delivery = journey.end()
    except SMTPException as raised:
        error = raised
    told = {*(error or delivery).accepted}
    assert told == served
    assert len((error or delivery).accepted) == len(served)
    if error is None:
        assert {*delivery.accepted, *delivery.refused} == {*everyone}
        assert final <= delivery.refused.keys()
    else:
        assert {*getattr(error, "unknown", ())} == dark
        assert not {*error.refused} & (served | dark)
        assert dark or not served
