"""Attachments that Django does not have: files that are read while they are sent, and inline
images."""

from __future__ import annotations

import mimetypes
import os
from email import encoders
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any

from django.core.mail import DNS_NAME, EmailMessage, EmailMultiAlternatives

from django_integration.compat import PART_POLICY, resolve_lazy
from mailbackends import Email, FileAttachment

__all__ = ["as_django_message", "attach_inline_image", "attach_path", "group_inline_images"]


def attach_path(
    message: EmailMessage,
    path: str | os.PathLike[str],
    *,
    filename: str | None = None,
    mimetype: str | None = None,
) -> None:
    """Attach a file without reading it: it is read in blocks while the message is sent.

    Use it in place of ``message.attach_file(path)`` for large files, or for messages that
    are kept for a while. The file must not change until the message is sent. It is encoded
    as base64, also if it is a text. ``filename`` defaults to the name of the path, and
    ``mimetype`` is guessed from it.

    Raises:
        OSError: the file cannot be found.
        ValueError: ``mimetype`` or ``filename`` is invalid.
    """
    attachment = FileAttachment(
        path, filename=resolve_lazy(filename), mimetype=mimetype, policy=PART_POLICY
    )
    message.attach(attachment)  # type: ignore[arg-type, unused-ignore]


class InlineImage(MIMEBase, MIMEPart):
    """An image that HTML refers to by its Content-ID (RFC 2392).

    It has both bases since Django 5.2 accepts one as an attachment, and Django 6.1 the other.
    """


def attach_inline_image(
    message: EmailMessage,
    image: bytes | str | Path,
    *,
    filename: str | None = None,
    mimetype: str | None = None,
    content_id: str | None = None,
) -> str:
    """Attach an image and return its URL for the HTML: ``<img src="{url}">``.

    ``image`` is its bytes or the path of a file. ``mimetype`` is guessed from the file
    name. ``content_id`` is generated unless given (``"logo@shop.example"``, without angle
    brackets). Mail programs show the image in the HTML, and not in the list of attachments.

    Raises:
        ValueError: the type is unknown or not an image, or ``content_id`` is invalid.
    """
    filename = resolve_lazy(filename)
    if isinstance(image, bytes):
        data = image
    else:
        data = Path(image).read_bytes()
        filename = filename or Path(image).name
    mimetype = mimetype or mimetypes.guess_type(filename or "")[0]
    maintype, _, subtype = (mimetype or "").partition("/")
    if maintype != "image" or not subtype:
        raise ValueError(
            f"{filename or 'the image'} must have an image type, got {mimetype}: "
            "give mimetype='image/png' or similar"
        )
    identifier = (content_id or make_msgid(domain=str(DNS_NAME))).strip("<>")
    if not identifier.isascii() or not identifier.isprintable() or set(identifier) & set(' <>"'):
        raise ValueError(
            f"content_id must be like 'logo@shop.example', without spaces or quotes, "
            f"got {content_id!r}"
        )
    part = InlineImage(maintype, subtype, policy=PART_POLICY)
    part.set_payload(data)
    encoders.encode_base64(part)
    part["Content-ID"] = f"<{identifier}>"
    part.add_header("Content-Disposition", "inline", **_filename(filename))
    message.attach(part)  # type: ignore[arg-type, unused-ignore]
    return f"cid:{identifier}"


def as_django_message(message: Email, *, connection: Any = None) -> EmailMultiAlternatives:
    """A `mailbackends.Email` as Django's message, to change it, send it and get its receipt.

    Message-ID and Date are those of ``message``.
    """
    is_html = message.text is None and message.html is not None
    made = EmailMultiAlternatives(
        message.subject,
        (message.html if is_html else message.text) or "",
        message.sender,
        [*message.to],
        bcc=[*message.bcc],
        connection=connection,
        cc=[*message.cc],
        reply_to=[*message.reply_to],
        headers={
            **message.headers,
            "Date": format_datetime(message.date),
            "Message-ID": message.message_id,
        },
    )
    if is_html:
        made.content_subtype = "html"
    elif message.html is not None:
        made.attach_alternative(message.html, "text/html")
    for content_id, (name, data, kind) in message.inline.items():
        attach_inline_image(made, data, filename=name, mimetype=kind, content_id=content_id)
    for file in message.attachments:
        if isinstance(file, FileAttachment):
            attach_path(
                made, file.path, filename=file.get_filename(), mimetype=file.get_content_type()
            )
        else:
            made.attach(*file)
    return made


def _filename(name: str | None) -> dict[str, Any]:
    # RFC 2231 for names that are not ASCII.
    return {"filename": name if name.isascii() else ("utf-8", "", name)} if name else {}


def group_inline_images(root: Message[Any, Any]) -> None:
    """Move inline images next to the HTML that shows them: multipart/related (RFC 2387).

    Django knows only multipart/mixed, where mail programs list them as attachments too.
    A message without HTML is not changed.
    """
    if root.get_content_type() != "multipart/mixed":
        return
    children = _children(root)
    images = [part for part in children if isinstance(part, InlineImage)]
    if not images:
        return
    found = _find_html(root, children)
    if found is None:
        return
    parent, html = found
    is_modern = isinstance(root, MIMEPart)
    related: Message[Any, Any] = MIMEPart(policy=root.policy) if is_modern else Message()
    related["Content-Type"] = 'multipart/related; type="text/html"'
    related.set_payload([html, *images])
    siblings = _children(parent)
    siblings[siblings.index(html)] = related
    root.set_payload([part for part in _children(root) if not isinstance(part, InlineImage)])


def _children(part: Message[Any, Any]) -> list[Any]:
    payload = part.get_payload()
    return payload if isinstance(payload, list) else []


def _find_html(
    parent: Message[Any, Any], children: list[Any]
) -> tuple[Message[Any, Any], Message[Any, Any]] | None:
    """The first HTML part that is not an attachment, with its parent."""
    for child in children:
        if child.get_content_type() == "text/html" and "Content-Disposition" not in child:
            return parent, child
        if child.get_content_type() == "multipart/alternative":
            found = _find_html(child, _children(child))
            if found is not None:
                return found
    return None
