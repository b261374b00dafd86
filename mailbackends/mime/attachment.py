"""A file attachment that is read while it is sent, and not before."""

from __future__ import annotations

import base64
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
from mailbackends.mime.pieces import BLOCK, Encoded, base64_lines, encoded_size
from mailbackends.mime.serializer import StreamedPart

__all__ = ["FileAttachment"]


class FileAttachment(ComputedPayload, MIMEBase, MIMEPart, StreamedPart):
    """A file as a part of a message, in base64.

    The file is read piece by piece while the message is sent, so it must not change until
    then. Use ``message.attach(FileAttachment(path))`` with a multipart message; Django accepts
    one in ``attachments`` too. ``get_content()`` and the email package's generators read the
    file as a whole.

    ``mimetype`` is guessed from the file's name by default; ``filename`` defaults to that name.

    Raises:
        OSError: the file does not exist.
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
        self.path = Path(path)
        os.stat(self.path)
        name = filename or self.path.name
        kind = mimetype or mimetypes.guess_type(name)[0] or "application/octet-stream"
        maintype, slash, subtype = kind.partition("/")
        if not (maintype and slash and subtype) or maintype == "multipart":
            raise ValueError(
                f"mimetype must be the MIME type of a file, such as 'application/pdf', got {kind!r}"
            )
        if "\r" in name or "\n" in name:
            raise ValueError(f"filename contains a line break, got {name!r}: remove it")
        super().__init__(maintype, subtype, policy=policy)
        self["Content-Transfer-Encoding"] = "base64"
        # RFC 2231 for what is not ASCII.
        parameter: Any = name if name.isascii() else ("utf-8", "", name)
        self.add_header("Content-Disposition", "attachment", filename=parameter)

    def encoded(self) -> Encoded:
        """The body: the file as it is at this moment.

        Raises:
            InvalidMessageError: the file cannot be read.
        """
        return _Base64File(self.path)

    def is_multipart(self) -> bool:
        """Always False; the file is not read."""
        return False

    def payload_text(self) -> str:
        """The file in base64, for whoever reads the part as a whole."""
        return base64.encodebytes(self.path.read_bytes()).decode("ascii")


class _Base64File(Encoded):
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.bytes = os.stat(path).st_size
        except OSError as error:
            raise InvalidMessageError(f"the attachment {path} cannot be read: {error}") from error
        self.size = encoded_size(self.bytes)

    def pieces(self) -> Iterator[bytes]:
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
                    yield base64_lines(block)
        except InvalidMessageError:
            raise
        except OSError as error:
            raise InvalidMessageError(
                f"the attachment {self.path} cannot be read: {error}"
            ) from error

    def holds(self, text: str) -> bool:
        # A boundary begins with "=", which only ends base64.
        return False
