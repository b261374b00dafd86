"""The results file of ``bulk``, from which a later run continues.

It is CSV, and lines are only ever appended. Before a message is sent, a line with the
state ``begun`` is on the disk; after it was sent, a line with the outcome follows. A run
that ends between the two leaves a row without an outcome: its message may or may not have
been sent.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailbackends.texts import FORMULA_STARTS, one_line

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock
    fcntl = None  # type: ignore[assignment]

__all__ = ["Entry", "Journal"]

FIELDS = ("time", "key", "recipient", "state", "message_id", "detail")
BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Entry:
    """The last entry of a row."""

    key: str
    recipient: str
    state: str
    """``begun``, or an outcome: accepted, refused, ``refused_for_now``, not_sent, unknown,
    suppressed."""
    message_id: str = ""
    detail: str = ""


class Journal:
    """A results file that only this process writes to. Use `opened`."""

    def __init__(self, descriptor: int, entries: dict[str, Entry]) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.entries = entries
        """The last entry for each key."""

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Journal]:
        """The journal in this file, which is created if necessary.

        Raises:
            ValueError: it is not a results file, or another run is using it.
            OSError: it cannot be read or written.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _lock_alone(descriptor, path)
            # The position does not matter: O_APPEND writes at the end of the file.
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            head = ",".join(FIELDS).encode()
            # The head itself may have been cut off; any other content must not be touched.
            if not (whole.startswith(head) or head.startswith(data)):
                raise ValueError(
                    f"{path} is not a results file of this command: give another --results"
                )
            if whole != data:
                # A crash cut the last line short; no message depended on it.
                os.ftruncate(descriptor, len(whole))
            journal = cls(descriptor, _read(whole.decode("utf-8"), path))
            if not whole:
                journal._add(FIELDS)
                _sync_folder(path)
            yield journal
        finally:
            os.close(descriptor)

    def begin(self, key: str, recipient: str, message_id: str) -> None:
        """Write that this row's message is about to be sent; it is on the disk on return."""
        self._note(Entry(key, recipient, BEGUN, message_id))
        os.fsync(self._descriptor)

    def end(self, key: str, recipient: str, state: str, message_id: str, detail: str) -> None:
        """Write the outcome."""
        self._note(Entry(key, recipient, state, message_id, one_line(detail)))

    def _note(self, entry: Entry) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            self._add(
                (now, entry.key, entry.recipient, entry.state, entry.message_id, entry.detail)
            )
            self.entries[entry.key] = entry

    def _add(self, values: tuple[str, ...]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(map(_escaped, values))
        data = text.getvalue().encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]


def _read(text: str, path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for line in csv.DictReader(io.StringIO(text, newline=""), strict=True):
        try:
            entry = Entry(*(_unescaped(line[name]) for name in FIELDS[1:]))
        except KeyError:
            raise ValueError(
                f"{path} is not a results file of this command: give another --results"
            ) from None
        entries[entry.key] = entry
    return entries


def _escaped(value: str) -> str:
    """The value for a spreadsheet: after an apostrophe it is text. `_unescaped` is the inverse."""
    return f"'{value}" if value.startswith((*FORMULA_STARTS, "'")) else value


def _unescaped(value: str) -> str:
    return value[1:] if value.startswith("'") else value


def _lock_alone(descriptor: int, path: Path) -> None:
    """Refuse a second run with the same file: it would send the same rows again."""
    if fcntl is None:  # pragma: no cover - Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another run is using {path}: wait for it to end, or give another --results"
        ) from None


def _sync_folder(path: Path) -> None:
    """Write the folder to the disk: until then a new file's name is not there."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
