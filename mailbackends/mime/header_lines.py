"""A header field as the policy folds it, but faster where it is plain."""

from __future__ import annotations

import re
from email import headerregistry
from email.policy import SMTP, EmailPolicy, Policy
from functools import cache
from typing import Any

from mailbackends.mime.address import ADDRESS_CLASSES, PLAIN_LIST
from mailbackends.mime.email_internals import header_class, tree_text
from mailbackends.mime.headers import check_field, is_field_name
from mailbackends.mime.line_ends import with_crlf

__all__ = ["header_line"]

# Header objects of these are folded from their own text; others from the tree that it was
# parsed into, which is long to ask.
_TEXT_IS_SOURCE = frozenset(
    {
        headerregistry.UnstructuredHeader,
        headerregistry.UniqueUnstructuredHeader,
        headerregistry.MIMEVersionHeader,
        headerregistry.ContentTypeHeader,
        headerregistry.ContentDispositionHeader,
        headerregistry.ContentTransferEncodingHeader,
        headerregistry.MessageIDHeader,
    }
)

# One space between words, none around them: nothing that folding could change.
_PLAIN_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")


def header_line(policy: Policy, name: str, value: Any) -> bytes:
    """One header field as the policy folds it, its line end included.

    Raises:
        InvalidMessageError: it holds a line break, or has no proper name.
    """
    text, written = "", name
    kind = header_class(value)
    if kind is not None:
        if isinstance(policy, EmailPolicy):
            text = value if kind in _TEXT_IS_SOURCE else tree_text(value._parse_tree)
            written = value._name
    elif isinstance(value, str) and not hasattr(value, "name"):
        text = value if _PLAIN_VALUE.fullmatch(value) and _leaves_alone(policy, value) else ""
    width = policy.max_line_length or 0
    if text and str.isascii(text) and str.isprintable(text) and is_field_name(written):
        if len(written) + len(text) + 2 <= width:
            return "".join((written, ": ", text, "\r\n")).encode("ascii")
        if kind in ADDRESS_CLASSES and _is_folded_so():
            folded = _folded_addresses(written, text, width)
            if folded is not None:
                return folded.encode("ascii")
    check_field(name, value)
    # Bytes of no known encoding go out as they were parsed, with the line ends they had.
    return with_crlf(policy.fold_binary(name, value))


def _leaves_alone(policy: Policy, value: str) -> bool:
    if isinstance(policy, EmailPolicy):
        return policy.refold_source != "all"
    return "=?" not in value


def _folded_addresses(name: str, text: str, width: int) -> str | None:
    """A plain list of addresses, as many on each line as it takes; None for the package to do.

    It puts no comma at the beginning of a line, and a list that fits there as a whole on the
    second one.
    """
    if len(text) < width or not PLAIN_LIST.fullmatch(text):
        return None
    first, *others = text.split(", ")
    lines: list[str] = []
    line = f"{name}: {first}"
    for entry in others:
        if len(line) >= width or len(entry) + 2 > width:
            return None
        if len(line) + len(entry) + 2 <= width:
            line = f"{line}, {entry}"
        else:
            lines.append(f"{line},\r\n")
            line = f" {entry}"
    lines.append(f"{line}\r\n")
    return "".join(lines) if len(line) <= width else None


@cache
def _is_folded_so() -> bool:
    """True where the version of the email package that is installed folds such a list so."""
    text = ", ".join(f"Name {n} <n{n}@example.com>, {n}@example.org" for n in range(20))
    expected: str = SMTP.fold("To", SMTP.header_factory("To", text))
    return _folded_addresses("To", text, SMTP.max_line_length or 0) == expected
