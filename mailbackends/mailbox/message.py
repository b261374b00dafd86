"""`StoredMessage`: the parts of any mail. Nothing here raises, however broken the mail is."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message as Tree
from email.parser import BytesHeaderParser
from functools import cached_property

from mailbackends.mailbox.markup import plain_text

__all__ = ["Part", "StoredMessage", "clean_name", "decoded"]

_EXCERPT = 160  # characters
_SEARCHED = 200_000  # characters of text
_MOST_PARTS = 500
# What makes a name look like another: controls, and marks that turn the direction of writing.
_DECEIVING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def decoded(raw: str) -> str:
    """A header's value as people read it: unfolded, its encoded words decoded (RFC 2047)."""
    text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = re.sub(r"[\r\n]+(?=[ \t])", "", text)
    if "=?" in text:
        # An unknown charset or broken base64: as it stands.
        with suppress(LookupError, ValueError):
            text = str(make_header(decode_header(text)))
    return _DECEIVING.sub("", text.replace("\t", " ")).encode("utf-8", "replace").decode().strip()


def clean_name(name: str) -> str:
    """A file name without folders and without what could deceive; empty where nothing is left."""
    name = _DECEIVING.sub("", name.encode("utf-8", "replace").decode())
    return re.split(r"[/\\]", name)[-1].strip(" .")[:200]


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the message."""

    index: int
    """Its place among all leaves, from 0."""
    content_type: str
    filename: str
    """As its sender named it, made harmless; or a name that says what it is."""
    content_id: str
    is_attachment: bool
    content: bytes
    charset: str

    @property
    def size(self) -> int:
        """Bytes, decoded."""
        return len(self.content)

    @property
    def text(self) -> str:
        """The content as text; what its charset does not have becomes U+FFFD."""
        try:
            return self.content.decode(self.charset, "replace")
        except (LookupError, ValueError):
            return self.content.decode("utf-8", "replace")


class StoredMessage:
    """A message, from its content as it came over the wire."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        try:
            self._tree: Tree = email.message_from_bytes(content, policy=email.policy.compat32)
        except RecursionError:  # parts within parts, hundreds deep: as one text
            parser = BytesHeaderParser(policy=email.policy.compat32)
            self._tree = parser.parsebytes(content)
            for name in ("Content-Type", "Content-Transfer-Encoding"):
                del self._tree[name]

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """All header fields in their order, decoded."""
        return [(name, decoded(str(value))) for name, value in self._tree.raw_items()]

    def header(self, name: str) -> str:
        """The first field of this name, or nothing."""
        name = name.casefold()
        return next((value for key, value in self.headers if key.casefold() == name), "")

    @property
    def subject(self) -> str:
        """The subject; empty where there is none."""
        return self.header("Subject")

    @property
    def author(self) -> str:
        """From, or Sender."""
        return self.header("From") or self.header("Sender")

    @property
    def addressees(self) -> str:
        """To and Cc in one line."""
        return ", ".join(filter(None, (self.header("To"), self.header("Cc"))))

    @cached_property
    def parts(self) -> list[Part]:
        """All leaves in their order, at most 500."""
        leaves: list[Part] = []
        for leaf in _leaves(self._tree):
            leaves.append(_part(len(leaves), leaf))
            if len(leaves) == _MOST_PARTS:
                break
        return leaves

    @cached_property
    def _bodies(self) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for part in self.parts:
            if not part.is_attachment:
                found.setdefault(part.content_type, part)
        return found

    @property
    def html(self) -> str | None:
        """The HTML alternative as it came: anything may be in it."""
        part = self._bodies.get("text/html")
        return part.text if part else None

    @property
    def text(self) -> str | None:
        """The text alternative."""
        part = self._bodies.get("text/plain")
        return part.text if part else None

    @property
    def attachments(self) -> list[Part]:
        """What is neither the text nor the HTML nor shown inside of it."""
        shown = {id(self._bodies.get("text/html")), id(self._bodies.get("text/plain"))}
        return [
            part for part in self.parts if id(part) not in shown and not self._is_shown_inside(part)
        ]

    @property
    def inline_images(self) -> list[Part]:
        """Those that the HTML refers to by their Content-ID (RFC 2392)."""
        return [part for part in self.parts if self._is_shown_inside(part)]

    def by_content_id(self, content_id: str) -> Part | None:
        """The part with this Content-ID, or None."""
        return next((part for part in self.parts if part.content_id == content_id), None)

    @cached_property
    def searchable(self) -> str:
        """The words of the text, or of the HTML, and the names of the attachments."""
        html = self.html
        body = self.text or (plain_text(html) if html else "")
        return " ".join([body[:_SEARCHED], *(part.filename for part in self.attachments)])

    @property
    def excerpt(self) -> str:
        """The beginning, on one line."""
        return " ".join(_DECEIVING.sub(" ", self.searchable[: _EXCERPT * 8]).split())[:_EXCERPT]

    def _is_shown_inside(self, part: Part) -> bool:
        if not part.content_id or not part.content_type.startswith("image/"):
            return False
        return f"cid:{part.content_id}" in (self.html or "")


def _leaves(tree: Tree) -> Iterator[Tree]:
    # Not walk(): it would go into a forwarded message, which is an attachment of this one.
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if node.is_multipart() and node.get_content_maintype() == "multipart":
            waiting += reversed(_children(node))
        else:
            yield node


def _part(index: int, leaf: Tree) -> Part:
    content_type = leaf.get_content_type()
    try:
        name = clean_name(decoded(leaf.get_filename() or ""))
    except (LookupError, ValueError, TypeError):
        name = ""
    is_attachment = leaf.get_content_disposition() == "attachment" or bool(
        name and content_type in ("text/plain", "text/html")
    )
    try:
        charset = leaf.get_content_charset() or "utf-8"
    except (LookupError, ValueError):
        charset = "utf-8"
    return Part(
        index=index,
        content_type=content_type,
        filename=name or f"part-{index + 1}{_suffix(content_type)}",
        content_id=decoded(str(leaf.get("Content-ID") or "")).strip("<>"),
        is_attachment=is_attachment,
        content=_content(leaf),
        charset=charset,
    )


def _children(node: Tree) -> list[Tree]:
    payload = node.get_payload()
    return [child for child in payload if isinstance(child, Tree)] if payload else []


def _content(leaf: Tree) -> bytes:
    # The email package raises this and that on charsets with NUL in them, and the like.
    with suppress(LookupError, ValueError, TypeError, RecursionError):
        if leaf.is_multipart():  # message/rfc822 and message/delivery-status
            return b"\r\n".join(child.as_bytes() for child in _children(leaf))
        data = leaf.get_payload(decode=True)
        return data if isinstance(data, bytes) else b""
    return b""


def _suffix(content_type: str) -> str:
    known = {
        "text/plain": ".txt",
        "text/html": ".html",
        "text/calendar": ".ics",
        "message/rfc822": ".eml",
        "application/pdf": ".pdf",
        "image/png": ".png",
        "image/jpeg": ".jpg",
        "image/gif": ".gif",
    }
    return known.get(content_type, ".bin")
