"""The result of each scenario at each server through each client."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Notes", "Table"]


@dataclass
class Table:
    """Cells by scenario, server and client: empty where it works, else a note."""

    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)
    order: tuple[tuple[str, str, str], ...] = ()
    """All cells that there are, also those that are not played in this run."""
    versions: dict[str, str] = field(default_factory=dict)
    errors: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """For each failure of TLS, the error texts and the clients that gave them."""

    def note(self, scenario: str, server: str, client: str, text: str | None) -> None:
        """Set the result of one cell."""
        self.cells[scenario, server, client] = text or ""

    def note_error(self, wrong: str, client: str, error: Exception) -> None:
        """Note a client's error where TLS failed, without the port and OpenSSL's name for it."""
        text = re.sub(r"(?<=127\.0\.0\.1):\d+| \([A-Z][A-Z0-9_]+\)", "", str(error))
        clients = self.errors.setdefault(wrong, {}).setdefault(text, [])
        if client not in clients:
            clients.append(client)

    @property
    def scenarios(self) -> list[str]:
        """The rows, in their order."""
        return list(dict.fromkeys(scenario for scenario, _, _ in self.cells))

    @property
    def servers(self) -> list[str]:
        """The columns, in their order."""
        return list(dict.fromkeys(server for _, server, _ in self.cells))

    @property
    def clients(self) -> list[str]:
        """The clients, in their order."""
        return list(dict.fromkeys(client for _, _, client in self.cells))

    def lines(self) -> list[str]:
        """The sums, and each scenario's cells in one line, for the terminal."""
        sums = Counter(
            "work" if not text else "do not, with a note" for text in self.cells.values()
        )
        shown = ", ".join(f"{count} {what}" for what, count in sums.most_common())
        lines = [
            f"{len(self.scenarios)} scenarios, {len(self.servers)} servers, "
            f"{len(self.cells)} cells by client: {shown}"
        ]
        notes = Notes()
        for row in self.rows(notes):
            lines.append("  ".join((row[0].ljust(44), *(cell.ljust(4) for cell in row[1:]))))
        return [*lines, *(f"{number}: {text}" for text, number in notes.numbers.items())]

    def rows(self, notes: Notes) -> list[list[str]]:
        """Each scenario and its cells. Their texts are numbered in ``notes``."""
        return [
            [scenario, *(self._cell(scenario, server, notes) for server in self.servers)]
            for scenario in self.scenarios
        ]

    def _cell(self, scenario: str, server: str, notes: Notes) -> str:
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


class Notes:
    """Numbers for texts, from 1."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of this text, a new one at its first use."""
        return self.numbers.setdefault(text, len(self.numbers) + 1)
