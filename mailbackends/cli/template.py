"""Templates for ``bulk``: ``{{ column }}`` in a subject, a text and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Template", "read_letter"]

_PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


class Template:
    """A text with places. With ``is_html`` values are escaped: they are data, never markup."""

    def __init__(self, text: str, *, name: str, is_html: bool = False) -> None:
        self.text = text
        self.name = name
        self.is_html = is_html

    @property
    def columns(self) -> list[str]:
        """The columns it names, in order."""
        return list(dict.fromkeys(_PLACE.findall(self.text)))

    def fill(self, row: Mapping[str, str]) -> str:
        """The text with a row's values. A value is not looked at for places of its own."""
        return _PLACE.sub(lambda place: self._value(row[place[1]]), self.text)

    def _value(self, value: str) -> str:
        return html.escape(value) if self.is_html else value


def read_letter(path: Path) -> tuple[str | None, str]:
    """The subject and the text of a file that begins with ``Subject: ...`` and an empty line.

    Without such a first line the whole file is the text, and the subject is None.
    """
    text = path.read_text(encoding="utf-8-sig")
    head, newline, body = text.partition("\n")
    if not head.lower().startswith("subject:"):
        return None, text
    if newline and not body.startswith(("\n", "\r\n")):
        raise ValueError(f"{path}: behind the line 'Subject: ...' comes an empty line, then text")
    return head.partition(":")[2].strip(), body.lstrip("\r\n")
