"""Large attachments outside the database, under the hash of their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.pieces import BLOCK, Encoded, Piece, base64_lines, encoded_size
from mailbackends.outbox.values import (
    BlobPart,
    OutboxMessage,
)

__all__ = ["BlobStore", "DirectoryBlobs", "pieces_of"]

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobStore(Protocol):
    """Keeps blobs under the SHA-256 of their content, in hexadecimal. Thread-safe.

    A blob is written before the message's transaction ends, and one that rolls back leaves a blob
    that nothing refers to: `digests` lists what may be deleted. To store a blob that is there
    already makes it new, so that a message that was just stored keeps it whoever cleans up.
    """

    def put(self, chunks: Iterable[bytes | memoryview]) -> tuple[str, int]:
        """Store a blob durably, and return its digest and its size in bytes.

        One that is there already counts as new for `digests` and `delete`.
        """

    def open(self, digest: str) -> BinaryIO:
        """The blob, to be read and closed.

        Raises:
            OSError: there is none, or it cannot be read.
        """

    def delete(self, digest: str, older_than: float) -> bool:
        """Delete a blob, unless it was stored, or stored again, in the last so many seconds.

        That is looked at in the same step. False where nothing was deleted.
        """

    def digests(self, older_than: float) -> Iterator[str]:
        """The blobs that were stored longer ago than so many seconds."""


class DirectoryBlobs:
    """Blobs as files in a directory that all web processes and workers share.

    The directory is created when the first blob is stored.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)

    def put(self, chunks: Iterable[bytes | memoryview]) -> tuple[str, int]:
        """See `BlobStore.put`."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path / f"{secrets.token_hex(16)}.part"
        digest, size = hashlib.sha256(), 0
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            name = digest.hexdigest()
            target = self._file(name)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            # Also over one that is there: it may be damaged, and is about to be deleted by age.
            # The lock: not between somebody's look at its age and the deletion.
            with self._lock(exclusive=False):
                os.replace(temporary, target)
            _sync_directory(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return name, size

    def open(self, digest: str) -> BinaryIO:
        """See `BlobStore.open`."""
        return self._file(digest).open("rb")

    def delete(self, digest: str, older_than: float) -> bool:
        """See `BlobStore.delete`."""
        file = self._file(digest)
        if not self.path.is_dir():
            return False
        with self._lock(exclusive=True) as now, contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime <= now - older_than:
                file.unlink()
                return True
        return False

    def digests(self, older_than: float) -> Iterator[str]:
        """See `BlobStore.digests`."""
        if not self.path.is_dir():
            return
        with self._lock(exclusive=False) as now:
            latest = now - older_than
        for file in self.path.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if _DIGEST.fullmatch(file.name) and file.stat().st_mtime <= latest:
                    yield file.name

    @contextlib.contextmanager
    def _lock(self, *, exclusive: bool) -> Iterator[float]:
        """A lock on the directory, and the time by the clock that dates its files.

        That is the file server's, which need not agree with this machine's.
        """
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:  # not on Windows, which has no such lock
                fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            os.utime(self.path / ".lock")
            yield os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)

    def _file(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidMessageError(
                f"a blob is named by 64 hexadecimal digits, got {digest!r}: the row was changed"
            )
        return self.path / digest[:2] / digest


def _sync_directory(path: Path) -> None:
    """Make a file's name survive a power failure, as far as the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pieces_of(message: OutboxMessage, blobs: BlobStore | None) -> tuple[Piece, ...]:
    """The content of a stored message; its blobs are read while it is sent.

    Raises:
        InvalidMessageError: there is no blob store, or it does not have a blob.
    """
    if message.blobs and blobs is None:
        raise InvalidMessageError(
            "the message has parts in blobs, and no blob store was given: configure the "
            "directory that the application uses"
        )
    pieces: list[Piece] = []
    place = 0
    for part in message.blobs:
        if part.offset > place:
            pieces.append(message.content[place : part.offset])
        pieces.append(_Blob(part, blobs))  # type: ignore[arg-type]
        place = part.offset
    if place < len(message.content):
        pieces.append(message.content[place:])
    return tuple(pieces)


class _Blob(Encoded):
    """A part that is read from its blob while it is sent."""

    __slots__ = ("_blobs", "_part", "ends_line", "is_base64", "size")

    def __init__(self, part: BlobPart, blobs: BlobStore) -> None:
        self._part = part
        self._blobs = blobs
        self.is_base64 = part.encoding == "base64"
        self.size = encoded_size(part.size) if self.is_base64 else part.size
        with self._opened() as file:
            # Found out now, and not when half of the message is sent.
            file.seek(0 if self.is_base64 else max(part.size - 2, 0))
            last = file.read(2)
        self.ends_line = self.is_base64 or last == b"\r\n"

    def pieces(self) -> Iterator[bytes]:
        change: Callable[[bytes], bytes] = base64_lines if self.is_base64 else bytes
        for block in self.source():
            yield change(block)

    def source(self) -> Iterator[bytes]:
        left = self._part.size
        with self._opened() as file:
            while left:
                block = self._read(file, min(BLOCK, left))
                # No piece ends between CR and LF.
                if not self.is_base64 and block.endswith(b"\r") and len(block) < left:
                    block += self._read(file, 1)
                left -= len(block)
                yield block

    def holds(self, text: str) -> bool:
        return False  # The boundaries were chosen when it was stored.

    def _read(self, file: Any, size: int) -> bytes:
        try:
            block: bytes = file.read(size)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(block) < size:
            raise self._unreadable("it is shorter than it was")
        return block

    def _opened(self) -> Any:
        try:
            return self._blobs.open(self._part.digest)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, why: object) -> InvalidMessageError:
        return InvalidMessageError(
            f"the blob {self._part.digest} cannot be read: {why}; restore it, and send the "
            "message again"
        )
