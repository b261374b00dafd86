"""An attachment that stays in its file until it is sent."""

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
from mailbackends.mime.base64_lines import BLOCK, base64_lines, encoded_size
from mailbackends.mime.serializer import Encoded, StreamedPart

__all__ = ["FileAttachment"]


class FileAttachment(MIMEBase, MIMEPart, StreamedPart):
    """A file as a part of a message, in base64.

    It is not read before the message is sent, and then piece by piece; so the file must stay
    as it is until then. ``message.attach(FileAttachment(path))`` for a multipart message; it
    is what Django takes in ``attachments`` too. Read as other parts are, by ``get_content()``
    or by a generator of the email package, it gives the file's content.

    ``mimetype`` is guessed from the file's name; ``filename`` is that name.

    Raises:
        OSError: there is no such file.
        ValueError: ``mimetype`` is none, or ``filename`` holds a line break.
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
            raise ValueError(f"mimetype={kind!r} is no type of a file: write 'application/pdf'")
        if "\r" in name or "\n" in name:
            raise ValueError(f"filename={name!r} holds a line break: take it out")
        super().__init__(maintype, subtype, policy=policy)
        self["Content-Transfer-Encoding"] = "base64"
        # RFC 2231 for what is not ASCII.
        parameter: Any = name if name.isascii() else ("utf-8", "", name)
        self.add_header("Content-Disposition", "attachment", filename=parameter)

    def encoded(self) -> Encoded:
        """The body: the file as it is at this moment.

        Raises:
            InvalidMessageError: it is gone.
        """
        return _Base64File(self.path)

    def is_multipart(self) -> bool:
        """False. The file is not read for that."""
        return False

    # Where the email package keeps the body of a part, and looks for it by this name.

    @property
    def _payload(self) -> str:
        return base64.encodebytes(self.path.read_bytes()).decode("ascii")

    @_payload.setter
    def _payload(self, value: object) -> None:
        if value is not None:
            raise TypeError("the content of a FileAttachment is that of its file")


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
                    # The size has been announced: as many bytes must come, and no more.
                    if not block or len(block) < min(BLOCK, left):
                        raise InvalidMessageError(f"the attachment {self.path} has become shorter")
                    left -= len(block)
                    yield base64_lines(block)
        except InvalidMessageError:
            raise
        except OSError as error:
            raise InvalidMessageError(
                f"the attachment {self.path} cannot be read: {error}"
            ) from error

    def holds(self, text: str) -> bool:
        # A boundary that is made up begins with "=", which in base64 is the end.
        return False
