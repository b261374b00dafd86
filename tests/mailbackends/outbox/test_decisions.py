"""What becomes of a message, for each result of an attempt and each lease that expires."""

from __future__ import annotations

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends import (
    ConfigurationError,
    InvalidMessageError,
    Outcome,
    RateLimited,
    Receipt,
    Reply,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from mailbackends.outbox import (
    TRANSITIONS,
    Change,
    KeyReusedError,
    OnUnknown,
    OutboxMessage,
    OutboxRecipient,
    Priority,
    Queued,
    RecipientState,
    RetryPolicy,
    State,
    cancelled,
    check_same_content,
    expired,
    lease_expired,
    order_of_priorities,
    parked,
    pause_after,
    recorded,
    resent,
    resolved,
    retry_delay,
    uuid7,
)

OK = Reply(250, (b"2.0.0 queued as 4711",))
BUSY = Reply(451, (b"4.3.0 try again later",))
NO = Reply(550, (b"5.1.1 no such user",))
FIVE = tuple(f"{name}@example.com" for name in "abcde")


def message(*states: RecipientState, **fields: object) -> OutboxMessage:
    states = states or (RecipientState.PENDING,)
    recipients = tuple(
        OutboxRecipient(address, state) for address, state in zip(FIVE, states, strict=False)
    )
    given = {"state": State.BEGUN, "attempts": 1, "lease_by": "w 1", "version": 7, **fields}
    return OutboxMessage(uuid7(), b"\r\n", "from@example.com", recipients, **given)


def five(**fields: object) -> OutboxMessage:
    return message(*[RecipientState.PENDING] * 5, **fields)


def states_of(change: Change) -> dict[str, RecipientState]:
    return {to[0]: each.state for to, each in change.recipients.items()}


def test_three_of_five_accepted_leave_two_for_the_next_attempt() -> None:
    receipt = Receipt(FIVE[:3], OK, {FIVE[3]: BUSY, FIVE[4]: BUSY})
    change = recorded(five(), receipt, worker="w", jitter=lambda: 1.0)
    assert change.state is State.QUEUED
    assert change.delay == 30.0
    assert states_of(change) == {
        **dict.fromkeys("abc", RecipientState.ACCEPTED),
        **dict.fromkeys("de", RecipientState.PENDING),
    }
    assert change.recipients[FIVE[4]].reply == BUSY
    assert change.lease_by == "w 1"
    assert change.version is None


def test_recipients_accepted_before_are_not_touched_by_a_later_attempt() -> None:
    three = [RecipientState.ACCEPTED] * 3
    second = message(*three, *[RecipientState.PENDING] * 2, attempts=2)
    assert second.pending == FIVE[3:]
    change = recorded(second, Receipt((FIVE[3],), OK, {FIVE[4]: NO}), worker="w")
    assert change.state is State.ACCEPTED
    assert states_of(change) == {"d": RecipientState.ACCEPTED, "e": RecipientState.REFUSED}
    assert change.attempted == FIVE[3:]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SMTPDataError(554, b"5.7.1 spam"), State.REFUSED),
        (SMTPDataError(451, b"4.3.0 busy"), State.QUEUED),
        (SMTPSenderRefused(550, b"no", "from@example.com"), State.REFUSED),
        (SMTPSenderRefused(450, b"later", "from@example.com"), State.QUEUED),
        (SMTPRecipientsRefused({FIVE[0]: (550, b"no")}), State.REFUSED),
        (SMTPRecipientsRefused({FIVE[0]: (450, b"later")}), State.QUEUED),
        (SMTPServerDisconnected("gone"), State.QUEUED),
        (SMTPDeliveryUnknown("gone"), State.UNKNOWN),
        (InvalidMessageError("broken"), State.PARKED),
        # It has no outcome: nobody can say that nothing was sent.
        (RuntimeError("a backend that is not ours"), State.UNKNOWN),
    ],
    ids=lambda value: value if isinstance(value, State) else type(value).__name__,
)
def test_each_outcome_leads_to_its_state(error: Exception, state: State) -> None:
    assert recorded(message(), error, worker="w").state is state


def test_an_exception_of_another_backend_may_carry_its_outcome() -> None:
    error = ConnectionRefusedError("nobody listens")
    vars(error)["outcome"] = Outcome.NOT_SENT
    assert recorded(message(), error, worker="w").state is State.QUEUED


def test_unknown_is_held_or_sent_again_as_the_message_asks() -> None:
    error = SMTPDeliveryUnknown("gone")
    assert recorded(message(), error, worker="w").state is State.UNKNOWN
    ask = message(on_unknown=OnUnknown.ASK)
    assert recorded(ask, error, worker="w").state is State.UNKNOWN
    again = recorded(message(on_unknown=OnUnknown.RESEND), error, worker="w")
    assert again.state is State.QUEUED
    assert states_of(again) == {"a": RecipientState.PENDING}


def test_lmtp_with_some_accepted_some_unknown_and_some_refused_for_now_retries_the_last() -> None:
    error = SMTPDeliveryUnknown("gone")
    error.accepted, error.refused, error.unknown = FIVE[:2], {FIVE[2]: BUSY}, FIVE[3:]
    change = recorded(five(), error, worker="w")
    assert change.state is State.QUEUED
    assert [each.state for each in change.recipients.values()].count(RecipientState.UNKNOWN) == 2
    # Those who are unknown stay so when the rest is done.
    rest = message(
        *[RecipientState.ACCEPTED] * 2, RecipientState.PENDING, *[RecipientState.UNKNOWN] * 2
    )
    assert recorded(rest, Receipt((FIVE[2],), OK), worker="w").state is State.UNKNOWN


def test_a_lease_that_expires_while_claimed_sends_again_and_while_begun_is_unknown() -> None:
    claimed = lease_expired(message(state=State.CLAIMED))
    assert claimed.state is State.QUEUED
    assert claimed.delay == 0.0
    assert claimed.before == {State.CLAIMED}
    begun = lease_expired(message(state=State.BEGUN))
    assert begun.state is State.UNKNOWN
    assert states_of(begun) == {"a": RecipientState.UNKNOWN}
    copy_does_no_harm = message(state=State.BEGUN, on_unknown=OnUnknown.RESEND)
    assert lease_expired(copy_does_no_harm).state is State.QUEUED


def test_a_message_on_which_workers_die_again_and_again_is_parked() -> None:
    given, states = message(state=State.CLAIMED), []
    for _ in range(5):
        change = lease_expired(given)
        states.append(change.state)
        given = dataclasses.replace(given, lost_leases=change.lost_leases)
    assert states == [State.QUEUED] * 4 + [State.PARKED]


def test_the_wait_doubles_has_full_jitter_and_a_limit() -> None:
    policy = RetryPolicy(first=10, longest=60)
    assert [retry_delay(n, policy, lambda: 1.0) for n in (1, 2, 3, 4, 5000)] == [10, 20, 40, 60, 60]
    assert retry_delay(3, policy, lambda: 0.0) == 0.0
    waits = [retry_delay(3, policy) for _ in range(200)]
    assert min(waits) < 10 < 30 < max(waits) <= 40


def test_a_message_expires_after_its_attempts_and_keeps_the_servers_words() -> None:
    policy = RetryPolicy(max_attempts=3)
    last = message(attempts=3)
    change = recorded(last, SMTPDataError(451, b"4.3.0 busy"), worker="w", policy=policy)
    assert change.state is State.EXPIRED
    assert change.recipients[FIVE[0]].reply == Reply.of(451, b"4.3.0 busy")
    assert "given up after 3 attempts" in change.reason
    partly = message(RecipientState.ACCEPTED, RecipientState.PENDING, attempts=3)
    change = recorded(partly, SMTPServerDisconnected("gone"), worker="w", policy=policy)
    assert change.state is State.ACCEPTED
    assert states_of(change) == {"b": RecipientState.EXPIRED}


def test_a_message_past_its_time_expires() -> None:
    change = expired(message(state=State.QUEUED))
    assert change.state is State.EXPIRED
    assert change.before == {State.QUEUED}


def test_all_mail_of_a_server_waits_where_it_has_no_connection_or_no_rate_left() -> None:
    limited = RateLimited("rate")
    limited.retry_after = 7.5
    assert pause_after(limited, 1) == 7.5
    assert recorded(message(), limited, worker="w").delay == 7.5
    unreachable = SMTPConnectionError("cannot connect")
    unreachable.no_connection = True
    waits = [pause_after(unreachable, n, jitter=lambda: 1.0) for n in (1, 2, 3, 20, 10_000)]
    assert waits == [1, 2, 4, 300, 300]
    assert pause_after(ConfigurationError("wrong"), 1) is not None
    # One message's trouble is no reason to let others wait.
    assert pause_after(SMTPDataError(451, b"busy"), 9) is None


def test_a_message_can_be_cancelled_until_it_is_begun() -> None:
    for state in (State.QUEUED, State.CLAIMED, State.PARKED):
        change = cancelled(message(state=state))
        assert change.state is State.CANCELLED
        assert change.lease_by is None
        assert change.version == 7
    for state in (State.BEGUN, State.ACCEPTED, State.UNKNOWN):
        with pytest.raises(ValueError, match="too late"):
            cancelled(message(state=state))


def test_resend_reaches_only_those_who_do_not_have_it_unless_asked_for_everyone() -> None:
    partly = message(RecipientState.ACCEPTED, RecipientState.REFUSED, state=State.ACCEPTED)
    assert states_of(resent(partly)) == {"b": RecipientState.PENDING}
    assert states_of(resent(partly, everyone=True)) == dict.fromkeys("ab", RecipientState.PENDING)
    assert resent(partly).restarts
    done = message(RecipientState.ACCEPTED, state=State.ACCEPTED)
    with pytest.raises(ValueError, match="all recipients have it"):
        resent(done)
    with pytest.raises(ValueError, match="being sent"):
        resent(message(state=State.BEGUN))


def test_an_unknown_outcome_is_resolved_by_a_person() -> None:
    unknown = message(RecipientState.UNKNOWN, RecipientState.REFUSED, state=State.UNKNOWN)
    assert resolved(unknown, arrived=True, by="ada").state is State.ACCEPTED
    assert resolved(unknown, arrived=False).state is State.REFUSED
    with pytest.raises(ValueError, match="needs no resolving"):
        resolved(message(RecipientState.ACCEPTED, state=State.ACCEPTED), arrived=True)


def test_a_low_priority_overtakes_in_time() -> None:
    order = order_of_priorities({Priority.LOW: 10.0, Priority.URGENT: 1.0})
    assert order == [Priority.URGENT, Priority.LOW]
    order = order_of_priorities({Priority.LOW: 1000.0, Priority.URGENT: 1.0})
    assert order == [Priority.LOW, Priority.URGENT]


def test_a_key_is_for_one_content() -> None:
    check_same_content("order-1", "abc", "abc")
    with pytest.raises(KeyReusedError, match="'order-1' was used before"):
        check_same_content("order-1", "abc", "abd")
    with pytest.raises(ConfigurationError, match="'urgent', got 'now'"):
        Priority.of("now")
    assert Priority.of("high") is Priority.of(2) is Priority.HIGH


def test_a_receipt_of_a_queued_message_is_json_and_pending() -> None:
    queued = Queued(uuid7(), "order-1")
    assert json.loads(json.dumps(queued.as_dict()))["outcome"] == "pending"


def test_identifiers_sort_by_time_and_are_version_7() -> None:
    first = uuid7()
    assert first.version == 7
    assert first.variant == "specified in RFC 4122"
    assert len({uuid7() for _ in range(1000)}) == 1000


def test_identifiers_made_in_one_moment_sort_in_the_order_they_were_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = uuid7()
    now = time.time_ns() + 10**9
    moments = [now] * 5000 + [now - 10**12] * 10 + [now + 10**7]
    monkeypatch.setattr(time, "time_ns", iter(moments).__next__)
    made = [first, *(uuid7() for _ in moments)]
    assert made == sorted(set(made))
    assert {each.version for each in made} == {7}
    assert {each.variant for each in made} == {"specified in RFC 4122"}
    # 5,010 of 4,096 in a millisecond: less than two milliseconds ahead, until the clock is there.
    milliseconds = [(each.int >> 80) - now // 10**6 for each in made[1:]]
    assert (milliseconds[0], milliseconds[-2], milliseconds[-1]) in ((0, 1, 10), (0, 2, 10))


def test_identifiers_made_by_several_threads_sort_in_each() -> None:
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: [uuid7() for _ in range(2000)], range(4)))
    assert all(part == sorted(part) for part in parts)
    assert len({each for part in parts for each in part}) == 8000


@pytest.mark.parametrize("policy", [{"first": 0}, {"longest": "1h"}, {"max_attempts": 0}])
def test_a_wrong_policy_is_refused(policy: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(policy))):
        RetryPolicy(**policy)


REPLIES = st.sampled_from([OK, BUSY, NO])
ERRORS = st.sampled_from(
    [
        SMTPDataError(554, b"no"),
        SMTPDataError(451, b"later"),
        SMTPServerDisconnected("gone"),
        SMTPDeliveryUnknown("gone"),
        SMTPException("anything"),
        InvalidMessageError("broken"),
        ValueError("anything"),
    ]
)


@given(
    before=st.lists(st.sampled_from(RecipientState), min_size=1, max_size=5),
    answers=st.lists(st.sampled_from([None, BUSY, NO]), min_size=5, max_size=5),
    error=st.none() | ERRORS,
    state=st.sampled_from([State.CLAIMED, State.BEGUN]),
    on_unknown=st.sampled_from(OnUnknown),
    attempts=st.integers(1, 4),
)
def test_no_recipient_is_lost_or_served_twice_whatever_the_result(
    before: list[RecipientState],
    answers: list[Reply | None],
    error: Exception | None,
    state: State,
    on_unknown: OnUnknown,
    attempts: int,
) -> None:
    given_message = message(*before, state=state, on_unknown=on_unknown, attempts=attempts)
    pending = given_message.pending
    if error is None:
        refused = {to: r for to, r in zip(pending, answers, strict=False) if r}
        result = Receipt(tuple(to for to in pending if to not in refused), OK, refused)
    else:
        result = error
    policy = RetryPolicy(max_attempts=3)
    change = recorded(given_message, result, worker="w", policy=policy)
    for old in change.before:
        assert change.state in TRANSITIONS[old]
    # Who is done stays done.
    assert set(change.recipients) <= set(pending)
    after = {r.address: r.state for r in given_message.recipients}
    after |= {to: each.state for to, each in change.recipients.items()}
    is_left = RecipientState.PENDING in after.values()
    assert is_left == (change.state in (State.QUEUED, State.PARKED)) or not pending
    assert (change.delay is not None) == (change.state is State.QUEUED)
    if change.state is State.ACCEPTED:
        assert RecipientState.UNKNOWN not in after.values()


def test_parking_keeps_the_reason_in_one_line() -> None:
    change = parked(message(state=State.CLAIMED), "cannot be read:\r\n\tthe blob is missing")
    assert change.state is State.PARKED
    assert "\n" not in change.reason
    assert "blob" in change.reason
