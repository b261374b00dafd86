"""Inline images: one helper to attach them, and their place in the message."""

from __future__ import annotations

import mimetypes
from email import encoders
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from email.utils import make_msgid
from pathlib import Path
from typing import Any

from django.core.mail import DNS_NAME, EmailMessage

from django_integration.compat import PART_POLICY

__all__ = ["attach_inline_image", "group_inline_images"]


class InlineImage(MIMEBase, MIMEPart):
    """An image that the HTML shows by its Content-ID (RFC 2392).

    Both bases, since Django 5.2 takes the one as an attachment and Django 6.1 the other.
    """


def attach_inline_image(
    message: EmailMessage,
    image: bytes | str | Path,
    *,
    filename: str | None = None,
    mimetype: str | None = None,
    content_id: str | None = None,
) -> str:
    """Attach an image, and get the URL to write into the HTML: ``<img src="{url}">``.

    ``image`` is its bytes or the path of a file. ``mimetype`` is guessed from the file's
    name. ``content_id`` is made up unless given (``"logo@shop.example"``, without angle
    brackets). The image stands beside the HTML, not among the attachments.

    Raises:
        ValueError: the type is unknown, or not that of an image.
    """
    if isinstance(image, bytes):
        data = image
    else:
        data = Path(image).read_bytes()
        filename = filename or Path(image).name
    mimetype = mimetype or mimetypes.guess_type(filename or "")[0]
    maintype, _, subtype = (mimetype or "").partition("/")
    if maintype != "image" or not subtype:
        raise ValueError(
            f"{filename or 'the image'} has the type {mimetype}, not that of an image: "
            "give mimetype='image/png' or the like"
        )
    identifier = (content_id or make_msgid(domain=str(DNS_NAME))).strip("<>")
    if not identifier.isascii() or not identifier.isprintable() or set(identifier) & set(' <>"'):
        raise ValueError(f"{content_id!r} is no Content-ID: write it like 'logo@shop.example'")
    part = InlineImage(maintype, subtype, policy=PART_POLICY)
    part.set_payload(data)
    encoders.encode_base64(part)
    part["Content-ID"] = f"<{identifier}>"
    part.add_header("Content-Disposition", "inline", **_filename(filename))
    message.attach(part)  # type: ignore[arg-type, unused-ignore]
    return f"cid:{identifier}"


def _filename(name: str | None) -> dict[str, Any]:
    # RFC 2231 for what is not ASCII.
    return {"filename": name if name.isascii() else ("utf-8", "", name)} if name else {}


def group_inline_images(root: Message[Any, Any]) -> None:
    """Put inline images beside the HTML that shows them: multipart/related (RFC 2387).

    Django knows only multipart/mixed, where mail programs list them as attachments too.
    What has no HTML stays as it is.
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
    related: Message[Any, Any] = MIMEPart(policy=root.policy) if _is_modern(root) else Message()
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
    """The first HTML part that is no attachment, with its parent."""
    for child in children:
        if child.get_content_type() == "text/html" and "Content-Disposition" not in child:
            return parent, child
        if child.get_content_type() == "multipart/alternative":
            found = _find_html(child, _children(child))
            if found is not None:
                return found
    return None


def _is_modern(part: Message[Any, Any]) -> bool:
    return isinstance(part, MIMEPart)
