"""The rows of ``bulk``: which are left to send, and sending them so that none is lost."""

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
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    RateLimited,
    SMTPAuthenticationError,
    SMTPException,
)
from mailbackends.mailer import Mailer

__all__ = ["LATER", "Batch", "Row", "is_left", "read_rows"]

# Refused with a temporary code: the next run tries again.
LATER = "refused_for_now"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV file."""

    number: int
    """The line in which it ends, from 1."""
    key: str
    """What it is known by in the results file."""
    recipient: str
    values: Mapping[str, str]


def read_rows(path: Path, *, address: str, key: str | None) -> list[Row]:
    """The rows of a CSV file, whose first line names the columns.

    ``address`` is the column with the recipients, ``key`` the one that tells rows apart.

    Raises:
        ValueError: a column is missing, a line is too short or too long, or two rows have
            one key, so that what was sent could not be told from what was not.
    """
    rows: list[Row] = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        columns = reader.fieldnames or []
        for column in (address, key or address):
            if column not in columns:
                raise ValueError(
                    f"{path} has no column {column!r}, only {', '.join(columns) or 'nothing'}"
                )
        try:
            for line in reader:
                if None in line or None in line.values():
                    raise ValueError(f"{path}, line {reader.line_num}: not {len(columns)} values")
                name = line[key or address].strip()
                recipient = line[address].strip()
                if not name or not recipient:
                    raise ValueError(f"{path}, line {reader.line_num}: no {key or address}")
                # Who differs in capitals alone is most likely the same person.
                identity = name.lower() if key is None else name
                if identity in seen:
                    mend = "--key COLUMN" if key is None else "another column as --key"
                    raise ValueError(
                        f"{path}: {name!r} stands in lines {seen[identity]} and "
                        f"{reader.line_num}: take one out, or give {mend} that tells them apart"
                    )
                seen[identity] = reader.line_num
                rows.append(Row(reader.line_num, identity, recipient, line))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def is_left(entry: Entry | None, again: frozenset[str]) -> bool:
    """True where the row is to be sent: never begun, certainly not sent, or refused for now.

    ``again`` holds what is sent again although it might arrive twice (``unknown``) or was
    refused for good (``refused``).
    """
    if entry is None or entry.state in (Outcome.NOT_SENT, LATER):
        return True
    if entry.state in (BEGUN, Outcome.UNKNOWN):
        return "unknown" in again
    return entry.state == Outcome.REFUSED and "refused" in again


class Batch:
    """Sends rows with as many threads as the Mailer may have connections.

    ``write`` makes the message of a row. ``tell`` is called with each entry that is final, in
    the thread that sent it, one at a time.
    """

    def __init__(
        self,
        mailer: Mailer,
        journal: Journal,
        write: Callable[[Row], EmailMessage],
        tell: Callable[[Entry], None],
    ) -> None:
        self.mailer = mailer
        self.journal = journal
        self.write = write
        self.tell = tell
        self.counts: Counter[str] = Counter()
        self.stopped = ""
        """Why nothing more is begun; empty while all goes well."""
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def stop(self, reason: str) -> None:
        """Begin nothing more. What is on its way is finished, and its outcome noted."""
        self.stopped = self.stopped or reason
        self._ended.set()

    def run(self, rows: list[Row], wait: Callable[[list[Future[None]]], None]) -> None:
        """Send them; ``wait`` waits for the threads."""
        left = iter(rows)
        workers = self.mailer.options.batch_connections
        with ThreadPoolExecutor(workers, thread_name_prefix="mailbackends-bulk") as executor:
            futures = [executor.submit(self._work, left) for _ in range(workers)]
            try:
                wait(futures)
            finally:
                # Also where the wait was broken off: the threads come to an end.
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
                # Such as a full disk: without its note nothing more may be begun.
                self.stop(str(error))
                raise

    def _send(self, row: Row) -> float:
        """Send it, or return for how many seconds the rate lets nothing go."""
        try:
            message = self.write(row)
        except ValueError as error:
            self._note(row, Outcome.REFUSED, "", f"line {row.number}: {error}")
            return 0.0
        message_id = str(message["Message-ID"])
        self.journal.begin(row.key, row.recipient, message_id)
        try:
            receipt = self.mailer.send_message(message)
        except RateLimited as error:
            self.journal.end(row.key, row.recipient, Outcome.NOT_SENT, message_id, str(error))
            return max(error.retry_after, 0.1)
        except (SMTPException, ValueError) as error:
            self._note(row, _state(error), message_id, _detail(error))
            if isinstance(error, SMTPAuthenticationError) or getattr(error, "no_connection", False):
                # The next row would fare no better.
                self.stop(str(error))
        else:
            self._note(row, Outcome.ACCEPTED, message_id, str(receipt.reply))
        return 0.0

    def _note(self, row: Row, state: str, message_id: str, detail: str) -> None:
        self.journal.end(row.key, row.recipient, state, message_id, detail)
        with self._lock:
            self.counts[state] += 1
            self.tell(self.journal.entries[row.key])


def _detail(error: Exception) -> str:
    """What the server said to the one recipient, or else what went wrong."""
    refused = isinstance(error, SMTPException) and error.outcome is Outcome.REFUSED
    return str(getattr(error, "reply", None) or error) if refused else str(error)


def _state(error: Exception) -> str:
    is_invalid = isinstance(error, InvalidAddressError | InvalidMessageError)
    if isinstance(error, SMTPException) and not is_invalid:
        outcome = error.outcome or Outcome.UNKNOWN
        if outcome is Outcome.REFUSED and error.is_transient:
            return LATER
        return str(outcome)
    # The message itself cannot go on the wire, and will not the next time.
    return str(Outcome.REFUSED)
