"""What became of each scenario at each server through each client, as a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Table"]

_HEAD = """# Compatibility

What mailbackends does with real servers. This page is written by the tests of
`tests/interop`, which start each server on loopback, play each scenario through
`SMTP`/`LMTP`, `Mailer`, Django and Flask, and compare what arrived byte by byte with what
was sent. Nothing here is written by hand:

    python -m tox -e interop                         # the servers are installed by this, too
    MAILBACKENDS_INTEROP_FULL=1 MAILBACKENDS_INTEROP_TABLE=docs/compatibility.md \\
        python -m tox -e interop                     # ... and writes this page

A tick: it works through all four. Where a server cannot do something, a note says so; where
a client could ask for it all the same (TLS, a login, an address), the tests show that it is
told of, and that nothing is sent.
"""

_MAY_CHANGE = """
## What a server may change

The comparison is of all bytes. A server may put trace fields (Return-Path, Received,
Delivered-To) in front, store LF in place of CRLF, take a CR or LF that stands alone for
the end of a line, make a space of such a CR or drop it, and end the last line. It may
change nothing else.
"""


@dataclass
class Table:
    """Cells by scenario, server and client: empty where it works, else a note."""

    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def note(self, scenario: str, server: str, client: str, text: str | None) -> None:
        """What came of one."""
        self.cells[scenario, server, client] = text or ""

    @property
    def scenarios(self) -> list[str]:
        """The rows, in their order."""
        return list(dict.fromkeys(scenario for scenario, _, _ in self.cells))

    @property
    def servers(self) -> list[str]:
        """The columns, in their order."""
        return list(dict.fromkeys(server for _, server, _ in self.cells))

    def lines(self) -> list[str]:
        """The sums, and each scenario's cells in one line, for the terminal."""
        sums = Counter("works" if not text else "cannot be" for text in self.cells.values())
        shown = ", ".join(f"{count} {what}" for what, count in sums.most_common())
        lines = [
            f"{len(self.scenarios)} scenarios, {len(self.servers)} servers, "
            f"{len(self.cells)} cells by client: {shown}"
        ]
        notes = _Notes()
        for row in self._rows(notes):
            lines.append("  ".join((row[0].ljust(44), *(cell.ljust(4) for cell in row[1:]))))
        return [*lines, *(f"{number}: {text}" for text, number in notes.numbers.items())]

    def page(self) -> str:
        """The page for docs/."""
        notes = _Notes()
        head = ["scenario", *self.servers]
        rows = [head, ["---"] * len(head), *self._rows(notes)]
        body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        texts = "\n".join(f"{number}. {text}" for text, number in notes.numbers.items())
        versions = ", ".join(f"{name} {what}" for name, what in self.versions.items())
        works = sum(not text for text in self.cells.values())
        return (
            f"{_HEAD}\n{len(self.scenarios)} scenarios at {len(self.servers)} servers through "
            f"4 clients: {len(self.cells)} cells, {works} of which work; each of the others has "
            f"its note.\n\nServers: {versions}.\n\n{body}\n\n{texts}\n{_MAY_CHANGE}"
        )

    def _rows(self, notes: _Notes) -> list[list[str]]:
        return [
            [scenario, *(self._cell(scenario, server, notes) for server in self.servers)]
            for scenario in self.scenarios
        ]

    def _cell(self, scenario: str, server: str, notes: _Notes) -> str:
        texts = {
            client: text
            for (row, column, client), text in self.cells.items()
            if (row, column) == (scenario, server)
        }
        different = dict.fromkeys(texts.values())
        if not different:
            return "?"
        shown = []
        for text in different:
            mark = f"no ({notes.number(text)})" if text else "✓"
            if len(different) > 1:
                mark += " " + ", ".join(client for client in texts if texts[client] == text)
            shown.append(mark)
        return "; ".join(shown)


class _Notes:
    """Numbers for texts, from 1."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers) + 1)
