"""The circuit: when a server is tried first, and when last."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mailbackends.mailer.circuit import Circuit, CircuitState


def broken(failures: int = 3, pause: float = 30.0, *, at: float = 100.0) -> Circuit:
    circuit = Circuit(failures, pause)
    for _ in range(failures):
        assert circuit.admits(at)
        circuit.failed(at)
    return circuit


def test_a_new_circuit_is_closed_and_admits() -> None:
    circuit = Circuit(3, 30.0)
    assert circuit.state is CircuitState.CLOSED
    assert circuit.admits(0.0)


def test_it_opens_after_several_faults_in_a_row() -> None:
    circuit = Circuit(3, 30.0)
    circuit.failed(1.0)
    circuit.failed(2.0)
    assert circuit.admits(3.0)
    circuit.failed(3.0)
    assert circuit.state is CircuitState.OPEN
    assert not circuit.admits(3.0)


def test_a_success_between_faults_restarts_the_count() -> None:
    circuit = Circuit(2, 30.0)
    for _ in range(10):
        circuit.failed(1.0)
        assert circuit.state is CircuitState.CLOSED
        circuit.succeeded()
    circuit.failed(1.0)
    circuit.failed(1.0)
    assert circuit.state is CircuitState.OPEN


def test_when_the_pause_is_over_one_message_is_let_through_and_no_other() -> None:
    circuit = broken(at=100.0)
    assert not circuit.admits(129.9)
    assert circuit.admits(130.0)
    assert circuit.state is CircuitState.HALF_OPEN
    assert not circuit.admits(130.0)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = broken(at=100.0)
    assert circuit.admits(130.0)
    circuit.succeeded()
    assert circuit.state is CircuitState.CLOSED
    assert all(circuit.admits(130.0) for _ in range(5))


def test_a_probe_that_fails_opens_it_for_another_pause() -> None:
    circuit = broken(at=100.0)
    assert circuit.admits(130.0)
    circuit.failed(135.0)
    assert circuit.state is CircuitState.OPEN
    assert not circuit.admits(164.9)
    assert circuit.admits(165.0)


def test_a_probe_that_never_comes_back_does_not_lock_the_server_out() -> None:
    circuit = broken(at=100.0)
    assert circuit.admits(130.0)
    assert not circuit.admits(159.9)
    assert circuit.admits(160.0)


def test_a_success_closes_it_even_if_it_was_not_the_probe() -> None:
    """A message that found no better server was tried here anyway."""
    circuit = broken(at=100.0)
    circuit.succeeded()
    assert circuit.state is CircuitState.CLOSED


def test_faults_while_it_is_open_do_not_put_off_the_probe() -> None:
    circuit = broken(at=100.0)
    for now in range(101, 130):
        circuit.failed(float(now))
    assert circuit.admits(130.0)


_STEPS = st.lists(st.sampled_from(["wait", "ask", "fail", "succeed"]), max_size=60)


@given(_STEPS)
def test_whatever_happens_a_server_is_admitted_again_after_a_pause(steps: list[str]) -> None:
    circuit, now = Circuit(2, 30.0), 0.0
    for step in steps:
        if step == "wait":
            now += 7.0
        elif step == "ask":
            circuit.admits(now)
        elif step == "fail":
            circuit.failed(now)
        else:
            circuit.succeeded()
    assert circuit.admits(now + 30.0)


@given(_STEPS)
def test_within_one_pause_no_two_messages_are_let_through_unless_it_is_closed(
    steps: list[str],
) -> None:
    circuit, now = broken(2, 30.0, at=0.0), 0.0
    let_through: list[float] = []
    for step in steps:
        if step == "wait":
            now += 7.0
        elif step == "fail":
            circuit.failed(now)
        elif circuit.admits(now):
            let_through.append(now)
    assert all(b - a >= 30.0 for a, b in itertools.pairwise(let_through))
