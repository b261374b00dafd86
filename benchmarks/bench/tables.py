"""The tables, as rows of text: for the terminal, and for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cases import CASES
from bench.gains import GAINS, figures
from bench.profiling import PARTS
from bench.results import Cell, Results
from bench.roster import CLIENTS
from bench.wanted import findings

__all__ = [
    "Table",
    "about",
    "case_table",
    "gain_table",
    "line_table",
    "profile_table",
    "sink_note",
    "wanted_table",
]

_REFERENCE = ("django-batch", "django-view")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, rows, and which rows are about mailbackends."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    ours: frozenset[int] = frozenset()

    @property
    def numeric(self) -> list[bool]:
        """Whether each column contains numbers, which are aligned to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return [all(not cell or cell[0].isdigit() for cell in column) for column in columns]

    def markdown(self) -> str:
        """The table in Markdown."""
        head = [self.columns, ["---:" if is_number else "---" for is_number in self.numeric]]
        body = [
            [f"**{cell}**" if index in self.ours and n == 0 else cell for n, cell in enumerate(row)]
            for index, row in enumerate(self.rows)
        ]
        return "\n".join("| " + " | ".join(row) + " |" for row in [*head, *body])


def gain_table(results: Results, name: str) -> Table:
    """What an application gains that uses another client today."""
    title, gains = GAINS[name]
    rows = []
    for gain in gains:
        if found := figures(results, gain):
            theirs, ours, times = found
            unit = {"wait": " ms", "CPU": " ms", "MiB": " MiB"}.get(gain.measure, "")
            better = {"wait": "faster", "rate": "as many", "CPU": "less", "MiB": "less"}
            rows.append(
                [
                    gain.title,
                    _number(theirs) + unit,
                    _number(ours) + unit,
                    f"{times:.{1 if times < 10 else 0}f}\u00d7 {better[gain.measure]}",
                ]
            )
    return Table(f"Beside {title}", ["", title, "mailbackends", "gain"], rows)


def wanted_table(results: Results) -> Table:
    """The targets, the measurements of the other client and of mailbackends, and the verdict."""
    rows = []
    for finding in findings(results):
        wanted = finding.wanted
        unit = {"round trips": " RT", "MiB": " MiB"}.get(wanted.measure, " µs")
        scale = 1e6 if wanted.is_ratio else 1
        rows.append(
            [
                wanted.title,
                {"time": "time", "CPU": "CPU"}.get(wanted.measure, wanted.measure),
                _title(wanted.theirs),
                "" if finding.theirs is None else _number(finding.theirs * scale) + unit,
                _title(wanted.ours),
                _number(finding.ours * scale) + unit,
                _aim(finding.reached, ratio=wanted.is_ratio),
                _aim(wanted.value, ratio=wanted.is_ratio),
                {True: "yes", False: "NO", None: ""}[finding.is_reached],
            ]
        )
    columns = ["", "in", "beside", "takes", "ours", "takes", "reached", "wanted", "is it?"]
    return Table("Target", columns, rows)


def case_table(results: Results, name: str) -> Table:
    """All clients in one case."""
    case = CASES[name]
    cells = [cell for cell in results.cells if cell.case == name]
    reference = next((c for r in _REFERENCE if (c := results.cell(name, r))), None)
    has_peak = any(cell.peak is not None for cell in cells)
    columns = ["", "ms per message", "least", "most"]
    columns += ["round trips"] if case.delay else ["messages/s"]
    columns += ["CPU µs", "time, Django = 1", "CPU, Django = 1"] + ["peak MiB"] * has_peak
    rows = []
    for cell in cells:
        wall = cell.median_wall
        row = [_title(cell.client), *(_number(t * 1000) for t in (wall, *_ends(cell)))]
        row.append(_number(wall / results.round_trip(case.delay) if case.delay else 1 / wall))
        row.append(_number(cell.median_cpu * 1e6))
        row.append(_number(reference.median_wall / wall) if reference else "")
        row.append(_number(reference.median_cpu / cell.median_cpu) if reference else "")
        if has_peak:
            row.append("" if cell.peak is None else f"{cell.peak / 2**20:.1f}")
        rows.append(row)
    ours = frozenset(n for n, cell in enumerate(cells) if CLIENTS[cell.client].is_ours)
    return Table(case.title, columns, rows, ours)


def line_table(results: Results) -> Table:
    """The line through the proxy."""
    rows = [
        [
            f"{line.delay} ms",
            f"{line.round_trip * 1000:.2f} ms",
            f"{line.throughput / 2**20:.0f} MiB/s",
        ]
        for line in results.lines
    ]
    return Table("The line", ["round trip requested", "measured", "throughput"], rows)


def about(results: Results) -> str:
    """The machine and the versions."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = ", ".join(str(value) for value in machine["load"])
    return (
        f"{machine['cores']} core{'s' * (machine['cores'] != 1)}, {machine['system']}, "
        f"{machine['python']}"
        f"{' (optimised)' if machine['is_optimised'] else ' (built without optimisation)'}, "
        f"{versions}. Load average before and after: {load}."
    )


def sink_note(results: Results) -> str:
    """Whether the server is fast enough: its own limit beside what the clients reach."""
    note = f"The sink compared {results.checked} messages with what was to be sent."
    for name in dict.fromkeys(cell.case for cell in results.cells):
        limit = results.cell(name, "raw")
        others = [c for c in results.cells if c.case == name and CLIENTS[c.client].family != "raw"]
        if limit is None or not others or CASES[name].delay:
            continue
        # Its limit shows in the best round; others may be slow for other reasons.
        best = min(others, key=lambda cell: min(cell.wall))
        rate, times = 1 / min(limit.wall), min(best.wall) / min(limit.wall)
        return (
            f"{note} At best it took {rate:,.0f} messages a second from the raw socket "
            f"({CASES[name].title}), {times:.1f} times as many as from the fastest client "
            f"({_title(best.client)})."
        )
    return note


def profile_table(results: Results, name: str) -> Table:
    """Where the time goes in one case: microseconds of processor time per message."""
    earlier = [p for p in results.before if p.case == name and CLIENTS[p.client].is_ours]
    now = [profile for profile in results.profiles if profile.case == name]
    profiles = [*earlier, *now]
    columns = ["CPU µs per message", *(f"{_title(p.client)}, before" for p in earlier)]
    columns += [_title(profile.client) for profile in now]
    rows = [
        [part, *(f"{_number(p.parts[part] * 1e6)} ({p.parts[part] / p.cpu:.0%})" for p in profiles)]
        for part in PARTS
        if any(p.parts[part] > p.cpu / 1000 for p in profiles)
    ]
    rows.append(["in all", *(_number(p.cpu * 1e6) for p in profiles)])
    return Table(f"By part: {CASES[name].title}", columns, rows)


def _ends(cell: Cell) -> tuple[float, float]:
    return min(cell.wall), max(cell.wall)


def _title(client: str) -> str:
    return CLIENTS[client].title


def _aim(value: float | None, *, ratio: bool) -> str:
    if value is None:
        return ""
    return f"{value:.3g} x" if ratio else f"{value:.3g}"


def _number(value: float) -> str:
    """Round to three significant digits."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
