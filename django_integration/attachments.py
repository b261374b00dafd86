"""Attachments that stay in their files until they are sent."""

from __future__ import annotations

import os

from django.core.mail import EmailMessage

from django_integration.compat import PART_POLICY
from mailbackends import FileAttachment

__all__ = ["attach_path"]


def attach_path(
    message: EmailMessage,
    path: str | os.PathLike[str],
    *,
    filename: str | None = None,
    mimetype: str | None = None,
) -> None:
    """Attach a file without reading it: that happens piece by piece while it is sent.

    In place of ``message.attach_file(path)``, for files that are large or messages that wait.
    The file must stay as it is until the message is sent. It goes as base64, a text too.
    ``mimetype`` is guessed from the name, ``filename`` is that of the path.

    Raises:
        OSError: there is no such file.
        ValueError: ``mimetype`` or ``filename`` is unusable.
    """
    attachment = FileAttachment(path, filename=filename, mimetype=mimetype, policy=PART_POLICY)
    message.attach(attachment)  # type: ignore[arg-type, unused-ignore]
