"""What the application hands over raises, at each call, and nothing is lost or sent twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from faults import totals
from faults.accounts import Letter, check, letter
from faults.faces import CALLS
from faults.ways import FLIGHT, GROUP, Way

from mailbackends import Mailer, Outcome, Receipt, SMTPException, Submission
from support.sink import Sink
from support.turns import Network, taking_turns

WAYS = [
    Way("flight", FLIGHT),
    Way("group", GROUP),
    Way("lock-step"),
    Way("pipelined", FLIGHT, in_flight=3),
]
KINDS = [ValueError("planned"), KeyboardInterrupt("planned"), SMTPException("planned")]


class Planned:
    """Counts calls, and raises at one of them."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at = at
        self.error = error
        self.calls = 0

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            totals.cuts["raising callbacks"] += 1
            raise self.error

    @contextlib.contextmanager
    def is_expected(self) -> Iterator[None]:
        """Within the block it may raise."""
        try:
            yield
        except BaseException as error:
            if error is not self.error:
                raise


def run(
    way: Way,
    plan: Planned,
    send: Callable[[Mailer, list[Letter]], Iterable[Any]],
    **options: Any,
) -> list[Any]:
    """Send three letters, and a fourth one afterwards; the results, which the server confirms."""
    letters = [letter(number) for number in range(3)]
    last = letter(3)
    results: list[Any] = []
    with taking_turns(Network(way.habits)) as network:
        delivered = network.begin()
        mailer = Mailer(way.options(network.ports[0]), **options)
        with plan.is_expected():
            results.extend(send(mailer, letters))
        pool = mailer.stats().pool
        assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
        is_last_known = False
        with plan.is_expected():
            is_last_known = (
                mailer.send_message(last.content, last.sender, last.recipients) is not None
            )
        with plan.is_expected():
            mailer.close()
        network.end()
    assert not delivered.violations
    # Whoever leaves by an exception of the application's own knows nothing about the rest.
    pairs = list(zip(letters, results, strict=False))
    confirmed = {one.content for one in [*(one for one, _ in pairs), last]}
    others = [key for key in delivered.count if key[0] not in confirmed]
    assert not others or len(results) < 3
    assert all(delivered.count.pop(key) == 1 for key in others)
    for to in last.recipients:
        assert delivered.count.pop((last.content, to), 0) in ({1} if is_last_known else {0, 1})
    totals.messages.update(check(pairs, delivered.count))
    return results


@pytest.mark.parametrize("error", KINDS[:1] + KINDS[2:], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_receiver_of_events_that_raises_changes_no_outcome(
    way: Way, call: str, error: Exception
) -> None:
    at = 1
    while True:
        plan = Planned(at, error)
        results = run(
            way, plan, lambda mailer, letters: [r for _, r in CALLS[call](mailer, letters)],
            on_event=plan,
        )  # fmt: skip
        assert [type(result) for result in results] == [Receipt] * 3
        if plan.calls < at:
            break
        at += 1
    assert at > 5


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_interrupt_in_a_receiver_of_events_leaves_no_connection_in_use(
    way: Way, call: str
) -> None:
    at = 1
    while True:
        plan = Planned(at, KeyboardInterrupt("planned"))
        run(
            way, plan, lambda mailer, letters: [r for _, r in CALLS[call](mailer, letters)],
            on_event=plan,
        )  # fmt: skip
        if plan.calls < at:
            break
        at += 1
    assert at > 5


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_iterable_that_raises_ends_the_batch_after_the_outcomes_before(
    way: Way, error: BaseException
) -> None:
    for at in range(1, 5):
        plan = Planned(at, error)

        def given(letters: list[Letter], plan: Planned = plan) -> Iterator[Submission]:
            for one in letters:
                plan()
                yield Submission(one.content, one.sender, one.recipients)
            plan()

        def stream(mailer: Any, letters: Any, given: Any = given) -> Any:
            return mailer.stream_messages(given(letters))

        results = run(way, plan, stream)
        if isinstance(error, Exception):
            assert len(results) == min(at - 1, 3) * (plan.error is error)


class Raising(EmailMessage):
    """A message object of which each method that is looked up calls ``plan`` first."""

    plan: Callable[[], None] | None = None

    def __getattribute__(self, name: str) -> Any:
        plan = super().__getattribute__("plan")
        if plan is not None and not name.startswith("__"):
            plan()
        return super().__getattribute__(name)


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_message_object_that_raises_is_not_sent_and_the_others_are(
    way: Way, error: BaseException
) -> None:
    at = 1
    while True:
        plan = Planned(at, error)

        def given(letters: list[Letter], plan: Planned = plan) -> Iterator[Submission]:
            for number, one in enumerate(letters):
                if number != 1:
                    yield Submission(one.content, one.sender, one.recipients)
                    continue
                message = Raising()
                message["N"] = "1"
                message.set_content("text\n")
                message.plan = plan
                yield Submission(message, one.sender, one.recipients)

        with taking_turns(Network(way.habits)) as network:
            delivered = network.begin()
            letters = [letter(number) for number in range(3)]
            results: list[Any] = []
            with Mailer(way.options(network.ports[0])) as mailer:
                with plan.is_expected():
                    results.extend(mailer.stream_messages(given(letters)))
                pool = mailer.stats().pool
                assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
            network.end()
        assert not delivered.violations
        assert set(delivered.count.values()) <= {1}
        outcomes = [getattr(result, "outcome", None) for result in results]
        sent = {recipient[1] for _, recipient in delivered.count}
        for number, outcome in enumerate(outcomes):
            assert (outcome is Outcome.ACCEPTED) is (str(number) in sent)
        totals.messages.update(outcome for outcome in outcomes if outcome is not None)
        if plan.calls < at:
            break
        at += 1 if at < 40 else 13
    assert at > 5


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [1, 2])
def test_a_token_provider_that_raises_leaves_the_message_unsent(
    at: int, error: BaseException
) -> None:
    plan = Planned(at, error)

    def token() -> str:
        plan()
        return "wrong" if plan.calls == 1 else "token"

    def check_token(ask: Callable[[bytes], bytes], initial: bytes | None) -> bool:
        return b"Bearer token" in (initial or ask(b""))

    one = letter(0)
    with Sink(sasl={"XOAUTH2": check_token}) as sink:
        with Mailer(sink.url, username="shop", token_provider=token) as mailer:
            with pytest.raises(type(error)) as caught:
                mailer.send_message(one.content, one.sender, one.recipients)
            assert caught.value is error or isinstance(caught.value, SMTPException)
            pool = mailer.stats().pool
            assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
            assert sink.messages == []
            assert mailer.send_message(one.content, one.sender, one.recipients).accepted
        assert len(sink.messages) == 1
