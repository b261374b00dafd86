"""Plots of the results: small SVG files, equal for equal results; and one PNG for the README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.results import Cell, Results
from bench.roster import CLIENTS

__all__ = ["draw"]

_OURS, _THEIRS = "#0b7a75", "#b9b3a9"
_LIMIT = "#6d6a64"
_STYLE: Any = {
    # Text stays text: a tenth of the size, and accessible to screen readers.
    "svg.fonttype": "none",
    "svg.hashsalt": "mailbackends",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_VIEWS = (
    "smtplib",
    "aiosmtplib",
    "django-view",
    "flask-mail",
    "nodemailer",
    "ours-django-view",
    "ours-flask",
    "ours-core",
    "raw",
)


# Package indexes show PNG wherever it comes from.
_IN_README = "wait"
# The limit is so far away that the other values would not be distinguishable.
_ALL = tuple(name for name, entry in CLIENTS.items() if entry.family != "raw")


def draw(results: Results, directory: Path) -> list[Path]:
    """Write each plot for which there are results. Returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = (
        ("wait", "Wait for one 2 KB mail, TLS and login, 80 ms away (ms)",
         "text-80-tls", _VIEWS, lambda cell: cell.median_wall * 1000),
        ("rate", "2 KB mails per second, no delay, in clear",
         "text-0-plain", _ALL, lambda cell: 1 / cell.median_wall),
        ("cpu", "CPU time per 2 KB mail, no delay, over TLS (µs)",
         "text-0-tls", _ALL, lambda cell: cell.median_cpu * 1e6),
        ("large", "CPU time per mail with a 5 MB attachment (ms)",
         "5mb-0-plain", _ALL, lambda cell: cell.median_cpu * 1000),
        ("memory", "Memory beyond a 25 MB attachment while it is sent (MiB)",
         "25mb-0-plain", _ALL,
         lambda cell: None if cell.peak is None else cell.peak / 2**20),
    )  # fmt: skip
    written = []
    with mpl.rc_context(_STYLE):
        for name, title, case, clients, value in plots:
            bars = _bars(results, case, clients, value)
            if bars:
                path = directory / f"{name}.svg"
                figure = _bar_chart(title, bars)
                figure.savefig(path, metadata={"Date": None})
                written.append(path)
                if name == _IN_README:
                    written.append(path.with_suffix(".png"))
                    figure.savefig(written[-1], dpi=180, metadata={"Software": None})
    return written


def _bars(
    results: Results, case: str, clients: Sequence[str], value: Callable[[Cell], float | None]
) -> list[tuple[str, float]]:
    cells = (results.cell(case, client) for client in clients)
    pairs = ((cell.client, value(cell)) for cell in cells if cell is not None)
    return [(client, height) for client, height in pairs if height is not None]


def _bar_chart(title: str, bars: Sequence[tuple[str, float]]) -> Figure:
    figure = Figure(figsize=(7.2, 0.6 + 0.22 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names = [CLIENTS[client].title for client, _ in bars]
    values = [value for _, value in bars]
    drawn = axes.barh(names, values, color=[_colour(client) for client, _ in bars])
    axes.bar_label(drawn, [f"{value:,.{0 if value >= 100 else 1}f}" for value in values], padding=3)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    return figure


def _colour(client: str) -> str:
    if CLIENTS[client].is_ours:
        return _OURS
    return _LIMIT if CLIENTS[client].family == "raw" else _THEIRS
