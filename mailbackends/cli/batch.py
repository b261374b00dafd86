"""The rows of ``bulk``: reading them, choosing those to send, and sending them."""

from __future__ import annotations

import csv
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from mailbackends.cli.journal import BEGUN, Entry, Journal
from mailbackends.errors import (
    ConfigurationError,
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    RateLimited,
    SMTPAuthenticationError,
    SMTPException,
)
from mailbackends.mailer import Mailer

__all__ = ["LATER", "Batch", "Row", "is_left", "read_rows"]

# Refused with a 4xx reply: the next run tries again.
LATER = "refused_for_now"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV file."""

    number: int
    """The line where the row ends, from 1."""
    key: str
    """What identifies the row in the results file."""
    recipient: str
    values: Mapping[str, str]


def read_rows(path: Path, *, address: str, key: str | None) -> list[Row]:
    """The rows of a CSV file, whose first line names the columns.

    ``address`` is the column with the recipients, ``key`` the one that identifies a row.

    Raises:
        ConfigurationError: there is no such column.
        ValueError: the file is not CSV in UTF-8, two columns have the same name, a row has too
            few or too many values, or two rows have the same key.
    """
    try:
        return _read_rows(path, address, key)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 ({error.reason}): save it as UTF-8"
        ) from error


def _read_rows(path: Path, address: str, key: str | None) -> list[Row]:
    rows: list[Row] = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        columns = reader.fieldnames or []
        if twice := [name for name, count in Counter(columns).items() if count > 1]:
            raise ValueError(f"{path} has several columns {twice[0]!r}: rename all but one")
        for column in (address, key or address):
            if column not in columns:
                option = "--column" if column == address else "--key"
                raise ConfigurationError(
                    f"{path} has no column {column!r}: give {option} "
                    f"{' or '.join(columns) or 'for a file with columns'}"
                )
        try:
            for line in reader:
                if None in line or None in line.values():
                    raise ValueError(
                        f"{path}, line {reader.line_num}: must have {len(columns)} values"
                    )
                name = line[key or address].strip()
                recipient = line[address].strip()
                if not name or not recipient:
                    raise ValueError(f"{path}, line {reader.line_num}: {key or address} is empty")
                # Addresses that differ only in case most likely belong to one person.
                identity = name.lower() if key is None else name
                if identity in seen:
                    fix = "give --key COLUMN" if key is None else "give another --key"
                    raise ValueError(
                        f"{path}: {name!r} is in lines {seen[identity]} and "
                        f"{reader.line_num}: remove one, or {fix} that differs between them"
                    )
                seen[identity] = reader.line_num
                rows.append(Row(reader.line_num, identity, recipient, line))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def is_left(entry: Entry | None, again: frozenset[str]) -> bool:
    """True if the row is to be sent: never begun, not sent, or refused with a 4xx reply.

    ``again`` contains ``"unknown"`` to send rows again that may have arrived, and
    ``"refused"`` for those refused with a 5xx reply.
    """
    if entry is None or entry.state in (Outcome.NOT_SENT, LATER):
        return True
    if entry.state in (BEGUN, Outcome.UNKNOWN):
        return "unknown" in again
    return entry.state == Outcome.REFUSED and "refused" in again


class Batch:
    """Sends rows with as many threads as the batch may use connections.

    ``write`` makes the message for a row. ``report`` is called with each final entry, in
    the thread that sent it, one call at a time. ``stream`` is what a suppression list is asked
    for.
    """

    def __init__(
        self,
        mailer: Mailer,
        journal: Journal,
        write: Callable[[Row], EmailMessage],
        report: Callable[[Entry], None],
        stream: str | None = None,
    ) -> None:
        self.mailer = mailer
        self.journal = journal
        self.write = write
        self.report = report
        self.stream = stream

        self.stopped: str = ""
        """Why no further row is begun; empty while sending."""
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def stop(self, reason: str) -> None:
        """Begin no further row. Messages being sent are finished, and their outcomes written."""
        self.stopped = self.stopped or reason
        self._ended.set()

    def run(self, rows: list[Row], wait: Callable[[list[Future[None]]], None]) -> None:
        """Send the rows; ``wait`` waits for the threads."""
        left = iter(rows)
        workers = self.mailer.options.batch_connections
        with ThreadPoolExecutor(workers, thread_name_prefix="mailbackends-bulk") as executor:
            futures = [executor.submit(self._work, left) for _ in range(workers)]
            try:
                wait(futures)
            finally:
                # Also if `wait` raised: the threads must end.
                self.stop("interrupted")
        for future in futures:
            future.result()

    def _work(self, left: Iterator[Row]) -> None:
        while True:
            with self._lock:
                row = None if self.stopped else next(left, None)
            if row is None:
                return
            try:
                while (pause := self._send(row)) and not self._ended.wait(pause):
                    pass
            except BaseException as error:
                # Such as a full disk: no row may be begun whose outcome cannot be written.
                self.stop(str(error))
                raise

    def _send(self, row: Row) -> float:
        """Send the row. Returns the seconds to wait before trying again; 0 if it is done."""
        try:
            message = self.write(row)
        except ValueError as error:
            self._finish(row, Outcome.REFUSED, "", f"line {row.number}: {error}")
            return 0.0
        message_id = str(message["Message-ID"])
        self.journal.begin(row.key, row.recipient, message_id)
        try:
            receipt = self.mailer.send_message(message, stream=self.stream)
        except RateLimited as error:
            self.journal.end(row.key, row.recipient, Outcome.NOT_SENT, message_id, str(error))
            return max(error.retry_after, 0.1)
        except (SMTPException, ValueError) as error:
            self._finish(row, _state(error), message_id, _detail(error))
            if isinstance(error, SMTPAuthenticationError) or getattr(error, "no_connection", False):
                # The next row would fail in the same way.
                self.stop(str(error))
        else:
            self._finish(row, Outcome.ACCEPTED, message_id, str(receipt.reply))
        return 0.0

    def _finish(self, row: Row, state: str, message_id: str, detail: str) -> None:
        self.journal.end(row.key, row.recipient, state, message_id, detail)
        with self._lock:
            self.report(self.journal.entries[row.key])


def _detail(error: Exception) -> str:
    """The server's reply to the recipient, or else the error."""
    refused = isinstance(error, SMTPException) and error.outcome is Outcome.REFUSED
    return str(getattr(error, "reply", None) or error) if refused else str(error)


def _state(error: Exception) -> str:
    is_invalid = isinstance(error, InvalidAddressError | InvalidMessageError)
    if isinstance(error, SMTPException) and not is_invalid:
        outcome = error.outcome or Outcome.UNKNOWN
        if outcome is Outcome.REFUSED and error.is_transient:
            return LATER
        return str(outcome)
    # The message itself cannot be sent, and the next run could not send it either.
    return str(Outcome.REFUSED)
