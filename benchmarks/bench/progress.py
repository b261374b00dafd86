"""The progress: a bar in a terminal, elsewhere a line for each case."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]


class Progress:
    """Writes to standard error. Use with ``with``."""

    def __init__(self, cases: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._cases = cases
        self._begun = 0
        self._start = time.monotonic()
        self._bar: Bar | None = None
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, TimeElapsedColumn(), console=self._console, transient=True)
            self._task = self._bar.add_task("starting the clients", total=None)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, case: str, steps: int) -> None:
        """Begin a case with this number of steps."""
        self._begun += 1
        text = f"{case} ({self._begun} of {self._cases})"
        if self._bar is not None:
            self._bar.reset(self._task, description=text, total=steps, completed=0)
        else:
            self.note(f"{text}, after {time.monotonic() - self._start:.0f} s")

    def advance(self) -> None:
        """Finish a step."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def note(self, text: str) -> None:
        """Print a line that stays visible."""
        self._console.print(text, soft_wrap=True, markup=False)
