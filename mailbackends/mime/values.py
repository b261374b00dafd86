"""The values that a message is described by, checked: addresses, files, header fields."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import localtime
from pathlib import Path
from typing import Any, TypeAlias

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mime.address import addresses_in, parse_path, plain_address
from mailbackends.mime.attachment import FileAttachment
from mailbackends.mime.fields import SMTP
from mailbackends.mime.headers import is_field_name
from mailbackends.mime.words import ATOMS, quoted_string

__all__ = [
    "Address",
    "Addresses",
    "File",
    "date_of",
    "each_address",
    "file_of",
    "header_fields",
    "inline_image",
    "mailbox_of",
    "one_line",
    "text_or_none",
]

Address: TypeAlias = str | tuple[str, str]
"""``"ada@example.com"``, ``"Ada <ada@example.com>"`` or ``("Ada", "ada@example.com")``."""
Addresses: TypeAlias = Address | Iterable[Address]
File: TypeAlias = (
    str | os.PathLike[str] | tuple[str, bytes | str] | tuple[str, bytes | str, str] | FileAttachment
)
"""A path, or a file name with its content and, unless the name shows it, its MIME type."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
# RFC 2392 section 2, in the form that every mail program finds again in `cid:` URLs.
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]{1,200}")
_OWN_FIELDS = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version"}
)


def one_line(name: str, value: object) -> str:
    """Text without line breaks and control characters."""
    if not isinstance(value, str):
        raise InvalidMessageError(f"{name} must be text, got {value!r}")
    if found := _CONTROL.search(value):
        raise InvalidMessageError(
            f"{name} contains {found[0]!r}, got {value!r}: write it in one line"
        )
    return str(value)


def text_or_none(name: str, value: object) -> str | None:
    """Text, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidMessageError(f"{name} must be text, got {type(value).__name__}")
    return str(value)


def each_address(name: str, given: Any) -> list[Any]:
    """The addresses of an argument that takes one or several."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, str) for x in given):
        if "@" in given[0]:
            # A name that somebody chose must never become an address.
            raise InvalidAddressError(
                f"{name} can be a name and an address or two addresses, got {given!r}: write "
                "[(name, address)] or a list of addresses"
            )
        return [given]
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InvalidAddressError(f"{name} must be an address or a list of them, got {given!r}")
    return [*given]


def mailbox_of(field_name: str, given: Any) -> tuple[str, str]:
    """The address for the envelope, and the mailbox for the header field."""
    of = "sender" if field_name == "sender" else "recipient"
    if isinstance(given, str):
        if path := plain_address(given):
            return parse_path(path, of=of), str(given)
        path = parse_path(given, of=of)
        # Read once more as the field is: both must name the same person.
        if addresses_in("To", SMTP.header_factory("To", given)) != [path]:
            name = given.rpartition("<")[0].strip()
            raise InvalidAddressError(
                f"{field_name} can be read in two ways, got {given!r}: "
                f"give a pair, ({name!r}, {path!r})"
            )
        return path, str(given)
    if not (isinstance(given, tuple) and len(given) == 2):
        raise InvalidAddressError(
            f"{field_name} must be an address or a pair of name and address, got {given!r}"
        )
    name, address = given
    if not isinstance(address, str) or "<" in address:
        raise InvalidAddressError(f"{field_name} must be a pair of name and address, got {given!r}")
    path = parse_path(address, of=of)
    name = one_line(f"the name in {field_name}", name).strip()
    if not name:
        return path, path
    return path, f"{name if ATOMS.fullmatch(name) else quoted_string(name)} <{path}>"


def file_of(option: str, given: Any) -> tuple[str, bytes | str, str] | FileAttachment:
    """A file name with its content and type, or a part that is streamed."""
    if isinstance(given, FileAttachment):
        return given
    if isinstance(given, str | os.PathLike):
        try:
            return FileAttachment(given, policy=SMTP)
        except OSError as error:
            raise InvalidMessageError(
                f"{option}: the file {os.fspath(given)!r} cannot be read: {error.strerror}"
            ) from error
    if not (isinstance(given, tuple) and len(given) in (2, 3)):
        raise InvalidMessageError(
            f"{option} takes paths, (name, content) or (name, content, type), got {given!r}"
        )
    name = one_line(f"{option}: the file name", given[0])
    if not name:
        raise InvalidMessageError(f"{option}: a file needs a name: give (name, content)")
    content = bytes(given[1]) if isinstance(given[1], bytearray | memoryview) else given[1]
    guessed = mimetypes.guess_type(name)[0]
    if isinstance(content, str):
        kind = given[2] if len(given) == 3 else guessed or "text/plain"
        if not str(kind).startswith("text/"):
            content = content.encode("utf-8")
    elif isinstance(content, bytes):
        kind = given[2] if len(given) == 3 else guessed or "application/octet-stream"
    else:
        raise InvalidMessageError(
            f"{option}: the content of {name!r} must be bytes or text, got {type(content).__name__}"
        )
    if not isinstance(kind, str) or not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII):
        raise InvalidMessageError(
            f"{option}: the type of {name!r} must be like 'application/pdf', got {kind!r}"
        )
    if kind.partition("/")[0] in ("multipart", "message"):
        raise InvalidMessageError(
            f"{option}: {name!r} cannot be attached as {kind}: give the path of an .eml file, "
            "or use the type application/octet-stream"
        )
    return name, content, kind


def inline_image(content_id: Any, given: Any, html: str | None) -> tuple[str, bytes, str]:
    """The file name, content and type of an image that the HTML shows."""
    if not (isinstance(content_id, str) and _CONTENT_ID.fullmatch(content_id)):
        raise InvalidMessageError(
            f"inline: a Content-ID has letters, digits and .-_+@ only, got {content_id!r}"
        )
    if f"cid:{content_id}" not in (html or ""):
        raise InvalidMessageError(
            f'inline: the html does not show {content_id!r}: write <img src="cid:{content_id}">, '
            "or put the file into attachments"
        )
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        try:
            given = (path.name, path.read_bytes())
        except OSError as error:
            raise InvalidMessageError(
                f"inline: the file {str(path)!r} cannot be read: {error.strerror}"
            ) from error
    found = file_of("inline", given)
    if isinstance(found, FileAttachment):
        raise InvalidMessageError(f"inline: give the path of {content_id!r}, or its content")
    name, content, kind = found
    return name, content.encode("utf-8") if isinstance(content, str) else content, kind


def header_fields(headers: Mapping[str, str]) -> dict[str, str]:
    """Further header fields, none of which is one that `Email` writes itself."""
    if not isinstance(headers, Mapping):
        raise InvalidMessageError(f"headers must map names to texts, got {headers!r}")
    for name, value in headers.items():
        if not isinstance(name, str) or not is_field_name(name):
            raise InvalidMessageError(f"headers: {name!r} is not the name of a header field")
        if name.lower() in _OWN_FIELDS or name.lower().startswith("content-"):
            raise InvalidMessageError(
                f"headers cannot contain {name!r}: use the argument of Email for it"
            )
        one_line(f"headers: {name}", value)
    return dict(headers)


def date_of(given: Any) -> datetime:
    """A date with a time zone; by default now."""
    if given is None:
        return localtime().replace(microsecond=0)
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise InvalidMessageError(f"date must be a datetime with a time zone, got {given!r}")
    return given
