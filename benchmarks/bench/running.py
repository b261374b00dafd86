"""The run: in each round every client has its turn, so that all share the same conditions."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import certificates
from bench.cases import Case
from bench.installed import Missing, versions
from bench.lines import Failed, Process, python
from bench.probing import echoes, throughput
from bench.progress import Progress
from bench.results import Cell, Line, Profile, Results, machine, rounded
from bench.roster import Entry
from bench.sink import LOGIN

__all__ = ["Bench", "Plan"]

# The intended length of a run in seconds, and its most messages.
_BUDGET = 0.3
_QUICK_BUDGET = 0.02
_MOST = 3000
_LEAST_IN_BATCH = 5
_LARGE = 1_000_000
_MOST_ROUNDS_IF_LARGE = 3
_MOST_ROUNDS_IF_QUIET = 3
_ECHOES = 3


class Plan:
    """What to measure, and the number of rounds."""

    def __init__(
        self,
        cases: Sequence[Case],
        clients: Sequence[Entry],
        rounds: int,
        *,
        is_quick: bool,
        quiet: float = 10.0,
    ) -> None:
        self.cases = cases
        self.clients = clients
        self.rounds = rounds
        self.budget = _QUICK_BUDGET if is_quick else _BUDGET
        self.quiet = quiet
        """The seconds of a quiet minute; the time after which a pool closes idle connections is
        shortened in proportion.
        """

    def fits(self, entry: Entry, case: Case) -> bool:
        """True if this client can run this case, and the result is meaningful."""
        is_large = case.sample.attachment_size > _LARGE
        if case.is_quiet or case.sample.is_built:
            if not (entry.is_for_quiet if case.is_quiet else entry.is_for_built):
                return False
        elif not entry.is_for_others:
            return False
        return (entry.knows_tls or not case.is_tls) and (entry.is_for_large or not is_large)

    def rounds_of(self, case: Case) -> int:
        """The number of turns of each client in a case."""
        if case.sample.attachment_size > _LARGE:
            return min(self.rounds, _MOST_ROUNDS_IF_LARGE)
        if case.is_quiet:
            return min(self.rounds, _MOST_ROUNDS_IF_QUIET)
        return self.rounds

    def count(self, case: Case, entry: Entry, seconds: float) -> int:
        """The number of messages for a run if one takes ``seconds``."""
        if case.sample.attachment_size > _LARGE:
            return 5 if entry.fewest else 2 if entry.is_batch else 1
        least = entry.least if not case.delay else min(entry.least, _LEAST_IN_BATCH)
        return min(max(least, round(self.budget / max(seconds, 1e-6))), _MOST)


class Bench:
    """The server, the proxy and the clients, each in its own process."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.results = Results(machine())
        self._stack = contextlib.ExitStack()
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Bench:
        with contextlib.ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._cafile, certificate = certificates.write(self.directory)
            self._sink = self._started(stack, Process("sink", python("bench.sink", certificate)))
            self._proxy = self._started(stack, Process("proxy", python("bench.proxy")))
            for entry in self.plan.clients:
                try:
                    process = entry.start(self.directory, self._environment())
                except Missing as missing:
                    self.results.skipped[entry.name] = str(missing)
                    self.progress.note(f"{entry.name} is left out: {missing}")
                else:
                    self._processes[entry.name] = self._started(stack, process)
            running = {entry.family for entry in self._present()}
            self.results.machine["versions"] |= versions(running)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self) -> Results:
        """Measure all.

        Raises:
            Failed: a client failed, or a wrong message arrived.
        """
        for case in self.plan.cases:
            entries = [entry for entry in self._present() if self.plan.fits(entry, case)]
            rounds = self.plan.rounds_of(case)
            self.progress.begin(case.name, len(entries) * (rounds + 1))
            cells = [self._pilot(case, entry) for entry in entries]
            for number in range(rounds):
                self._probe(case.delay)
                # The order changes, because a client may suffer from the one before it.
                for cell, entry in _in_turn([*zip(cells, entries, strict=True)], number):
                    answer = self._ask(case, entry, cell.count)
                    cell.wall.append(rounded(answer["wall"] / cell.count))
                    cell.cpu.append(rounded(answer["cpu"] / cell.count))
                    self.progress.advance()
            self.results.cells += cells
        if hasattr(os, "getloadavg"):
            self.results.machine["load"].append(round(os.getloadavg()[0], 1))
        return self.results

    def profile(self, case: Case, entry: Entry) -> None:
        """Measure where the time goes: see `bench.profiling`."""
        measured = self.results.cell(case.name, entry.name)
        if measured is None:
            return
        count = measured.count
        cpu = statistics.median(
            self._ask(case, entry, count)["cpu"] for _ in range(self.plan.rounds)
        )
        answer = self._ask(case, entry, count, do="profile", cpu=cpu)
        parts = {part: rounded(seconds / count) for part, seconds in answer["parts"].items()}
        self.results.profiles.append(Profile(case.name, entry.name, rounded(cpu / count), parts))

    def _present(self) -> list[Entry]:
        return [entry for entry in self.plan.clients if entry.name in self._processes]

    def _pilot(self, case: Case, entry: Entry) -> Cell:
        """A run that does not count: it warms up, and determines the number of messages."""
        if case.is_quiet:
            return Cell(case.name, entry.name, 1)
        count = self.plan.count(case, entry, self._ask(case, entry, 1)["wall"])
        if count > 10:
            answer = self._ask(case, entry, 10)
            count = self.plan.count(case, entry, answer["wall"] / 10)
        cell = Cell(case.name, entry.name, count)
        if case.wants_memory:
            cell.peak = self._ask(case, entry, 1, do="memory").get("peak")
        self.progress.advance()
        return cell

    def _ask(
        self, case: Case, entry: Entry, count: int, do: str = "measure", **further: Any
    ) -> dict[str, Any]:
        """One client's turn, checked at the sink."""
        login = LOGIN if case.is_tls else None
        face = {"security": case.security, "login": case.is_tls, "chunking": True}
        question = {
            "do": do,
            "sample": case.sample.name,
            "count": count,
            "port": self._port({"do": "listen", **face}, case.delay),
            "security": case.security,
            "login": login,
            "cafile": self._cafile,
            "quiet": self.plan.quiet if case.is_quiet else 0.0,
            **further,
        }
        self._sink.ask({"do": "begin"})
        try:
            answer = self._processes[entry.name].ask(question)
            expected = {"sample": case.sample.name, "count": answer["sent"], "warm": answer["warm"]}
            arrived = self._sink.ask({"do": "check", **expected})
        except Failed as error:
            raise Failed(f"{entry.name} in {case.name}: {error}") from error
        self.results.checked += arrived["messages"]
        return {**answer, **arrived}

    def _probe(self, delay: int) -> None:
        """Measure the line."""
        port = self._port({"do": "listen for probes"}, delay)
        if all(line.delay != delay for line in self.results.lines):
            self.results.lines.append(Line(delay, rounded(throughput(port))))
        self.results.line(delay).echoes += map(rounded, echoes(port, _ECHOES))

    def _port(self, face: dict[str, Any], delay: int) -> int:
        port: int = self._sink.ask(face)["port"]
        if delay:
            port = self._proxy.ask({"target": port, "round_trip": delay / 1000})["port"]
        return port

    def _environment(self) -> dict[str, str]:
        """The environment variables that make clients without an option for it trust the
        certificate.
        """
        return {"SSL_CERT_FILE": self._cafile, "NODE_EXTRA_CA_CERTS": self._cafile}

    def _started(self, stack: contextlib.ExitStack, process: Process) -> Process:
        stack.callback(process.close)
        return process


def _in_turn(items: Sequence[Any], first: int) -> Iterator[Any]:
    first %= max(1, len(items))
    yield from items[first:]
    yield from items[:first]
