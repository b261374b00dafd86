"""A file attachment that is read while it is sent, and not before."""

from __future__ import annotations

import base64
import codecs
import email
import email.policy
import mimetypes
import os
from collections.abc import Iterator
from email.message import MIMEPart
from email.mime.base import MIMEBase
from email.policy import Policy
from pathlib import Path
from typing import Any

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.email_internals import ComputedPayload
from mailbackends.mime.pieces import BLOCK, Encoded, Piece, base64_lines, encoded_size, with_crlf
from mailbackends.mime.serializer import StreamedPart

__all__ = ["FileAttachment"]


class FileAttachment(ComputedPayload, MIMEBase, MIMEPart, StreamedPart):
    """A file as a part of a message, in base64.

    The file is read piece by piece while the message is sent, so it must not change until
    then. Use ``message.attach(FileAttachment(path))`` with a multipart message; Django accepts
    one in ``attachments`` too. ``get_content()`` and the email package's generators read the
    file as a whole.

    ``mimetype`` is guessed from the file's name by default; ``filename`` defaults to that name.
    A text file is looked through once to see whether it is UTF-8, and then has
    ``charset="utf-8"``. A message (``message/rfc822``, as ``.eml`` files are) is attached as it
    is, since RFC 2046 section 5.2.1 does not allow base64 for it; it is read as a whole.

    Raises:
        OSError: the file does not exist, or a text or message cannot be read.
        ValueError: ``mimetype`` is not a MIME type, or ``filename`` contains a line break.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        filename: str | None = None,
        mimetype: str | None = None,
        policy: Policy[Any] = email.policy.default,
    ) -> None:
        self.path: Path = Path(path)
        os.stat(self.path)
        name = str(filename or self.path.name)  # a lazy string is evaluated
        kind = str(mimetype or _type_of(name))
        maintype, slash, subtype = kind.partition("/")
        if not (maintype and slash and subtype) or maintype == "multipart":
            raise ValueError(
                f"mimetype must be the MIME type of a file, such as 'application/pdf', got {kind!r}"
            )
        if "\r" in name or "\n" in name:
            raise ValueError(f"filename contains a line break, got {name!r}: remove it")
        self._is_message = maintype.lower() == "message"
        encoding = "base64"
        parameters = {}
        if self._is_message:
            encoding = "7bit" if self.path.read_bytes().isascii() else "8bit"
        elif maintype.lower() == "text" and ";" not in subtype and _is_utf8(self.path):
            parameters["charset"] = "utf-8"
        super().__init__(maintype, subtype, policy=policy, **parameters)
        self["Content-Transfer-Encoding"] = encoding
        # RFC 2231 for what is not ASCII.
        parameter: Any = name if name.isascii() else ("utf-8", "", name)
        self.add_header("Content-Disposition", "attachment", filename=parameter)

    def encoded(self) -> Piece:
        """The body: the file as it is at this moment.

        Raises:
            InvalidMessageError: the file cannot be read.
        """
        if not self._is_message:
            return _Base64File(self.path)
        try:
            return with_crlf(self.path.read_bytes())
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def is_multipart(self) -> bool:
        """Always False; the file is not read."""
        return False

    def get_payload(self, i: int | None = None, decode: bool = False) -> Any:
        """The body in its transfer encoding, or decoded; the message itself in a list of one."""
        payload: Any = super().get_payload(decode=decode)  # type: ignore[call-overload]
        return payload[i] if self._is_message and i is not None else payload

    def read_payload(self) -> Any:
        """The body, for callers that read the part as a whole."""
        data = self.path.read_bytes()
        if self._is_message:
            return [email.message_from_bytes(data)]
        return base64.encodebytes(data).decode("ascii")


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _unreadable(path: Path, error: OSError) -> InvalidMessageError:
    return InvalidMessageError(
        f"the attachment {path} cannot be read: {error}; it must exist until the message is sent"
    )


class _Base64File(Encoded):
    is_base64 = True

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.bytes = os.stat(path).st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        self.size = encoded_size(self.bytes)

    def pieces(self) -> Iterator[bytes]:
        for block in self.source():
            yield base64_lines(block)

    def source(self) -> Iterator[bytes]:
        left = self.bytes
        try:
            with self.path.open("rb") as file:
                while left:
                    block = file.read(min(BLOCK, left))
                    # The size has been announced to the server: send exactly that many bytes.
                    if not block or len(block) < min(BLOCK, left):
                        raise InvalidMessageError(
                            f"the attachment {self.path} became shorter while it was sent: "
                            "send the message again, and leave the file unchanged meanwhile"
                        )
                    left -= len(block)
                    yield block
        except InvalidMessageError:
            raise
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def __str__(self) -> str:
        return f"the attachment {self.path}"

    def holds(self, text: str) -> bool:
        # A boundary begins with "=", which only ends base64.
        return False
