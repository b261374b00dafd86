"""The results in the terminal; plain ASCII elsewhere."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench.results import Results
from bench.tables import (
    Table,
    about,
    case_table,
    line_table,
    profile_table,
    sink_note,
    wanted_table,
)

__all__ = ["show"]

_PLAIN_WIDTH = 150


def show(results: Results) -> None:
    """Print all tables."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    console.print(Text(about(results)))
    for table in (
        line_table(results),
        *(case_table(results, case) for case in dict.fromkeys(c.case for c in results.cells)),
        *(profile_table(results, case) for case in dict.fromkeys(p.case for p in results.profiles)),
        wanted_table(results),
    ):
        if table.rows:
            console.print()
            console.print(_grid(table, console.is_terminal))
    console.print(Text(sink_note(results)))
    for name, reason in results.skipped.items():
        console.print(Text(f"{name} was left out: {reason}"))


def _grid(table: Table, is_terminal: bool) -> Grid:
    grid = Grid(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if is_terminal else box.ASCII,
    )
    for column, is_number in zip(table.columns, table.numeric, strict=True):
        grid.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for index, row in enumerate(table.rows):
        grid.add_row(*row, style="bold" if index in table.ours else "")
    return grid
