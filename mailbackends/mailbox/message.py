"""`StoredMessage`: the parts of a message. Nothing raises, however broken the message is."""

from __future__ import annotations

import codecs
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
from urllib.parse import unquote

from mailbackends.mailbox.markup import plain_text
from mailbackends.mime.words import utf8_text

__all__ = ["Part", "StoredMessage", "clean_name", "decoded"]

_EXCERPT = 160  # characters
_SEARCHED = 200_000  # characters of text
_MOST_PARTS = 500
_MOST_DECODED = 500_000  # characters of header fields whose encoded words are decoded
_PARAMETERS = re.compile(
    rb"^content-(?:type|disposition):[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*", re.IGNORECASE | re.MULTILINE
)
_LONGEST_PARAMETERS = 4_000  # bytes
_MULTIPART = re.compile(rb"multipart/", re.IGNORECASE)
_MOST_COMPARISONS = 20_000_000
_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}", re.ASCII)
# Codecs of Python that are not charsets of mail; some take quadratic time.
_NOT_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_CID = re.compile(r"cid:([^\s\"'()<>\\]{1,1000})", re.IGNORECASE)
# Characters that can disguise a name: controls, and marks for the writing direction.
_DECEIVING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def decoded(raw: str) -> str:
    """A header field's value, unfolded, with its encoded words decoded (RFC 2047)."""
    text = unfolded(raw)
    # After the last "?=" there can be no whole encoded word, and looking for one takes time
    # with the square of the length.
    words, end, rest = text.rpartition("?=")
    if "=?" in words:
        # Not decoded if the charset is unknown or the base64 is broken.
        with suppress(LookupError, ValueError):
            text = str(make_header(decode_header(words + end))) + rest
    return _readable(text)


def unfolded(raw: str) -> str:
    """A header's value on one line, its encoded words not decoded."""
    return _readable(re.sub(r"[\r\n]+(?=[ \t])", "", utf8_text(raw)))


def _readable(text: str) -> str:
    return _without_surrogates(_DECEIVING.sub("", text.replace("\t", " "))).strip()


def _without_surrogates(text: str) -> str:
    """Text that can be encoded as UTF-8; pairs of surrogates become one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_name(name: str) -> str:
    """A file name without folders and disguising characters; may be empty."""
    name = _DECEIVING.sub("", name.encode("utf-8", "replace").decode())
    return re.split(r"[/\\]", name)[-1].strip(" .")[:200]


@dataclass(frozen=True, slots=True)
class Part:
    """One part that is not multipart."""

    index: int
    """Its index among all parts, from 0."""
    content_type: str
    filename: str
    """The name from the message, cleaned, or one made from the type."""
    content_id: str
    is_attachment: bool
    content: bytes
    charset: str

    @property
    def size(self) -> int:
        """The size in bytes, decoded."""
        return len(self.content)

    @property
    def text(self) -> str:
        """The content as text; bytes that its charset does not define become U+FFFD."""
        try:
            if codecs.lookup(self.charset).name.replace("_", "-") in _NOT_CHARSETS:
                return self.content.decode("utf-8", "replace")
            # Some charsets, such as UTF-7, can encode half of a surrogate pair.
            return _without_surrogates(self.content.decode(self.charset, "replace"))
        except (LookupError, ValueError):
            return self.content.decode("utf-8", "replace")


class StoredMessage:
    """A message, parsed from its content."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._tree = _parsed(content)

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """All header fields in order. Encoded words are decoded in the first 500,000 characters."""
        found = []
        left = _MOST_DECODED
        for name, value in self._tree.raw_items():
            text = str(value)
            found.append((_readable(name), decoded(text) if left >= len(text) else unfolded(text)))
            left -= len(text)
        return found

    def header(self, name: str) -> str:
        """The first field with this name, or an empty string."""
        name = name.casefold()
        return next((value for key, value in self.headers if key.casefold() == name), "")

    @property
    def subject(self) -> str:
        """The subject, or an empty string."""
        return self.header("Subject")

    @property
    def author(self) -> str:
        """The From field, or else Sender."""
        return self.header("From") or self.header("Sender")

    @property
    def addressees(self) -> str:
        """The fields To and Cc on one line."""
        return ", ".join(filter(None, (self.header("To"), self.header("Cc"))))

    @cached_property
    def parts(self) -> list[Part]:
        """The parts in order, at most 500."""
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
        """The HTML alternative, not cleaned, or None."""
        part = self._bodies.get("text/html")
        return part.text if part else None

    @property
    def text(self) -> str | None:
        """The text alternative, or None."""
        part = self._bodies.get("text/plain")
        return part.text if part else None

    @property
    def attachments(self) -> list[Part]:
        """The parts that are not the text, the HTML, or an image in the HTML."""
        shown = {id(self._bodies.get("text/html")), id(self._bodies.get("text/plain"))}
        return [
            part for part in self.parts if id(part) not in shown and not self._is_shown_inside(part)
        ]

    @property
    def inline_images(self) -> list[Part]:
        """The images that the HTML refers to by Content-ID (RFC 2392)."""
        return [part for part in self.parts if self._is_shown_inside(part)]

    def by_content_id(self, content_id: str) -> Part | None:
        """The part with this Content-ID, or None."""
        return self._by_content_id.get(content_id)

    @cached_property
    def _by_content_id(self) -> dict[str, Part]:
        return {part.content_id: part for part in reversed(self.parts) if part.content_id}

    @cached_property
    def _content_ids_in_html(self) -> set[str]:
        return {unquote(content_id) for content_id in _CID.findall(self.html or "")}

    @cached_property
    def searchable(self) -> str:
        """The text, or that of the HTML, and the names of the attachments."""
        html = self.html
        body = self.text or (plain_text(html) if html else "")
        return " ".join([body[:_SEARCHED], *(part.filename for part in self.attachments)])

    @property
    def excerpt(self) -> str:
        """The beginning of the text on one line."""
        return " ".join(_DECEIVING.sub(" ", self.searchable[: _EXCERPT * 8]).split())[:_EXCERPT]

    def _is_shown_inside(self, part: Part) -> bool:
        if not part.content_id or not part.content_type.startswith("image/"):
            return False
        return part.content_id in self._content_ids_in_html


def _parsed(content: bytes) -> Tree:
    # The parser needs quadratic time for the parameters of a field.
    content = _PARAMETERS.sub(lambda field: field[0][:_LONGEST_PARAMETERS], content)
    # It compares each line with the boundary of each multipart that contains it.
    if len(_MULTIPART.findall(content)) * content.count(b"\n") <= _MOST_COMPARISONS:
        with suppress(RecursionError):
            return email.message_from_bytes(content, policy=email.policy.compat32)
    # Hundreds of nested parts are shown as one text.
    tree = BytesHeaderParser(policy=email.policy.compat32).parsebytes(content)
    for name in ("Content-Type", "Content-Transfer-Encoding"):
        del tree[name]
    return tree


def _leaves(tree: Tree) -> Iterator[Tree]:
    # Not walk(), which would descend into a forwarded message: that is an attachment.
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if node.is_multipart() and node.get_content_maintype() == "multipart":
            waiting += reversed(_children(node))
        else:
            yield node


def _part(index: int, leaf: Tree) -> Part:
    content_type = leaf.get_content_type()
    if not _TYPE.fullmatch(content_type):
        content_type = "application/octet-stream"
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
    # The email package raises various errors, such as for a charset that contains NUL.
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
