"""Suppression lists as CSV: import and export."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from mailbackends.errors import ConfigurationError, SMTPException
from mailbackends.suppressed import EVERYTHING, Reason, Suppression
from mailbackends.suppression.entries import new_entry
from mailbackends.suppression.store import SuppressionStore
from mailbackends.texts import FORMULA_STARTS, did_you_mean, one_line

__all__ = ["COLUMNS", "BadRow", "import_csv", "open_csv", "read_csv", "write_csv"]

COLUMNS = ("address", "reason", "scope", "source", "detail", "created_at", "expires_at")

# What other lists call these columns.
_OTHER_NAMES = {
    "email": "address", "e-mail": "address", "email address": "address", "recipient": "address",
    "stream": "scope", "created": "created_at", "expires": "expires_at", "expiry": "expires_at",
}  # fmt: skip

_LONGEST_LINE = 10_000
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be imported."""

    line: int
    """Its line in the file, from 1."""
    error: str


def read_csv(
    file: TextIO,
    *,
    reason: Reason | str = Reason.MANUAL,
    scope: str = EVERYTHING,
    source: str = "",
) -> Iterator[Suppression | BadRow]:
    """The entries in a CSV file, one row at a time; `BadRow` for each that cannot be used.

    The first row names the columns: ``address``, and as many of ``reason``, ``scope``, ``source``,
    ``detail``, ``created_at`` and ``expires_at`` as there are. Other columns are ignored; what is
    empty is as given here. A file without a header has one address in each row. Times are in ISO
    8601; without a time zone they are in UTC.

    Open the file by `open_csv`, so that a byte that is not UTF-8 is a `BadRow`.

    Raises:
        ConfigurationError: no column has the addresses.
    """
    reader = csv.reader(_lines(file), strict=True)
    columns: list[str] | None = None
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num
            more = f"; nothing was read up to line {last}" if last > first else ""
            yield BadRow(first, f"it is not CSV ({error}): check the quotes{more}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if columns is None:
            columns, is_header = _columns(row)
            if is_header:
                continue
        given = {name: cell.strip() for name, cell in zip(columns, row, strict=False) if name}
        try:
            yield _entry(given, reason, scope, source)
        except (SMTPException, ValueError) as error:
            yield BadRow(reader.line_num, one_line(str(error)))


def import_csv(
    file: TextIO,
    store: SuppressionStore | None,
    *,
    reason: Reason | str = Reason.MANUAL,
    scope: str = EVERYTHING,
    source: str = "",
    on_bad: Callable[[BadRow], object] = lambda row: None,
    on_progress: Callable[[int], object] = lambda count: None,
) -> tuple[int, int]:
    """Add the entries of a file, a thousand in each transaction; the arguments are those of
    `read_csv`.

    Returns how many were added and how many rows cannot be used; ``on_bad`` is called with each
    of these. Importing a file twice does no harm. Without a store the rows are only checked.

    Raises:
        ConfigurationError: as `read_csv`.
    """
    new_entry("a@example.com", reason, scope)  # What is wrong for all rows is said once.
    added = bad = 0
    batch: list[Suppression] = []
    for row in read_csv(file, reason=reason, scope=scope, source=source):
        if isinstance(row, BadRow):
            bad += 1
            on_bad(row)
            continue
        batch.append(row)
        if len(batch) == _BATCH:
            added += _stored(batch, store)
            batch.clear()
            on_progress(added)
    return added + _stored(batch, store), bad


def _stored(batch: list[Suppression], store: SuppressionStore | None) -> int:
    if store is not None:
        store.add(batch)
    return len(batch)


def write_csv(entries: Iterable[Suppression], file: TextIO) -> int:
    """Write entries with a header, as `read_csv` reads them; returns how many there were.

    A cell that a spreadsheet would take for a formula begins with an apostrophe, which
    `read_csv` removes again.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for entry in entries:
        moments = (entry.created_at, entry.expires_at)
        texts = (entry.address, entry.reason.value, entry.scope, entry.source, entry.detail)
        writer.writerow(
            [*map(_safe, texts), *("" if each is None else each.isoformat() for each in moments)]
        )
        count += 1
    return count


def open_csv(path: str | os.PathLike[str] | int) -> TextIO:
    """The file, opened for `read_csv`."""
    return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(file: TextIO) -> Iterator[str]:
    """The lines; of a file without line ends, no more than a piece is in memory."""
    return iter(lambda: file.readline(_LONGEST_LINE), "")


def _columns(row: list[str]) -> tuple[list[str], bool]:
    names = [cell.strip().lower() for cell in row]
    columns = [_OTHER_NAMES.get(name, name) for name in names]
    if "address" in columns:
        doubled = {name for name in columns if name in COLUMNS and columns.count(name) > 1}
        if doubled:
            raise ConfigurationError(f"two columns are called {doubled.pop()!r}: remove one")
        return [name if name in COLUMNS else "" for name in columns], True
    if any("@" in cell for cell in row):
        return ["address"], False
    near = did_you_mean(names[0], COLUMNS)
    raise ConfigurationError(
        f"no column is called 'address' in the first row ({', '.join(names)[:200]}): {near}"
    )


def _entry(given: dict[str, str], reason: Reason | str, scope: str, source: str) -> Suppression:
    values = {name: _unquoted(cell) for name, cell in given.items() if cell}
    if "address" not in values:
        raise ValueError("the address is missing")
    return new_entry(
        values["address"],
        values.get("reason", reason),
        values.get("scope", scope),
        source=values.get("source", source),
        detail=values.get("detail", ""),
        created_at=_moment("created_at", values),
        expires_at=_moment("expires_at", values),
    )


def _moment(name: str, values: dict[str, str]) -> datetime | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{name} must be a time such as 2027-01-31T12:00:00Z, got {text[:80]!r}"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith((*FORMULA_STARTS, "'")) else text


def _unquoted(cell: str) -> str:
    is_marked = cell.startswith("'") and cell[1:2] in (*FORMULA_STARTS, "'")
    return cell[1:] if is_marked else cell
