"""What the pages show: messages, previews and faults."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mailbackends.mailbox import headers, markup
from mailbackends.mailbox.faults import Fault, Faults
from mailbackends.mailbox.http import Refusal
from mailbackends.mailbox.message import Part, StoredMessage
from mailbackends.mailbox.store import Mail, Store
from mailbackends.previews import Preview, Previews
from mailbackends.previews import preview as registered

__all__ = ["Contents", "View"]

logger: logging.Logger = logging.getLogger("mailbackends.mailbox")

_SEPARATORS = re.compile(r"[\s,;:<>()]+")

_LONGEST_SOURCE = 1_000_000  # characters shown; the file has all


@dataclass
class View:
    """A message as the page shows it: one that arrived, or a preview."""

    message: StoredMessage
    place: str
    """Its path below the mailbox, with a slash at the end."""
    mail: Mail | None = None

    @cached_property
    def links(self) -> list[markup.Link]:
        """The links in the message."""
        return markup.links(self.message.html, self.message.text)

    @cached_property
    def notes(self) -> list[headers.Note]:
        """What may be wrong with the message, including its links."""
        found = headers.notes(self.message, self.mail.arrival.sender if self.mail else None)
        if count := sum(bool(link.warning) for link in self.links):
            text = "1 link has a warning" if count == 1 else f"{count} links have warnings"
            found.append(headers.Note("hint", f"{text}: see Links."))
        return found

    @property
    def alarming(self) -> set[str]:
        """The tabs that show something wrong."""
        tabs = {"links"} if any(link.warning for link in self.links) else set()
        return tabs | ({"notes"} if any(note.level == "wrong" for note in self.notes) else set())

    @property
    def recipients(self) -> list[tuple[str, str]]:
        """The lines "to", "cc" and "bcc" that are not empty.

        Bcc is what the envelope has beyond the header fields.
        """
        shown = [("to", self.message.header("To")), ("cc", self.message.header("Cc"))]
        if self.mail is not None:
            text = " ".join(value for _, value in shown).casefold()
            # Not getaddresses(), which recurses for each parenthesis. Only a quoted local part
            # contains a separator.
            visible = {*_SEPARATORS.split(text)}
            hidden = [
                address
                for address in (*self.mail.arrival.accepted, *self.mail.arrival.refused)
                if address.casefold() not in (text if '"' in address else visible)
            ]
            shown.append(("bcc", ", ".join(hidden)))
        return [(name, addresses) for name, addresses in shown if addresses]

    @property
    def fields(self) -> list[headers.Field]:
        """The header fields, with explanations."""
        return headers.explained(self.message)

    @property
    def source(self) -> str:
        """The content as text, not decoded: the first million bytes."""
        return self.message.content[:_LONGEST_SOURCE].decode("utf-8", "backslashreplace")

    @property
    def is_cut(self) -> bool:
        """True if `source` is not the whole content."""
        return len(self.message.content) > _LONGEST_SOURCE

    def cleaned(self, *, remote: bool = False) -> markup.Cleaned:
        """The HTML after cleaning: see `markup.clean`."""
        return markup.clean(self.message.html or "", picture=self._picture, remote=remote)

    @cached_property
    def remote(self) -> int:
        """The number of references in the HTML to other servers."""
        # Without the images, which would only cost time here.
        return markup.clean(self.message.html or "").remote

    def _picture(self, content_id: str) -> tuple[str, bytes] | None:
        part = self.message.by_content_id(content_id)
        if part is None or not part.content_type.startswith("image/"):
            return None
        return part.content_type, part.content

    def part(self, index: int) -> Part | None:
        """The part with this index, or None."""
        parts = self.message.parts
        return parts[index] if 0 <= index < len(parts) else None


class Contents:
    """The stored mail, the application's previews, and the faults.

    Args:
        path: an SQLite file; None keeps the mail in memory.
        keep: the number of messages kept.
        faults: the initial faults.
        previews: the application's mails; None means those registered with
            `mailbackends.previews.preview`.
        hosts: further host names that browsers may use, beside those of loopback.

    Raises:
        sqlite3.Error, OSError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        keep: int = 1000,
        faults: Iterable[Fault] = (),
        previews: Previews | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        self.store: Store = Store(path, keep=keep)
        self.faults: Faults = Faults(faults)
        self.previews: Previews = registered if previews is None else previews
        self.hosts: frozenset[str] = frozenset(hosts)

    def message(self, number: str) -> View:
        """The message with this number.

        Raises:
            Refusal: it does not exist.
        """
        mail = self.store.get(int(number))
        if mail is None:
            raise Refusal(404, "This message does not exist, or was deleted.")
        return View(StoredMessage(mail.content), f"messages/{number}/", mail)

    def preview(self, name: str) -> Preview:
        """The preview with this name.

        Raises:
            Refusal: it does not exist.
        """
        found = self.previews.get(name)
        if found is None:
            raise Refusal(404, "This preview does not exist.")
        return found

    def rendered(self, preview: Preview) -> View:
        """The message of a preview. Raises what the application's function raises."""
        try:
            return View(StoredMessage(preview.content()), f"previews/{preview.name}/")
        except Exception:
            logger.warning("The preview %r failed", preview.name, exc_info=True)
            raise

    def view(self, kind: str, name: str) -> View:
        """A message or a preview: ``kind`` is ``"messages"`` or ``"previews"``.

        Raises:
            Refusal: it does not exist, or the application's function failed.
        """
        if kind == "messages":
            return self.message(name if name.isdigit() and len(name) <= 15 else "0")
        try:
            return self.rendered(self.preview(name))
        except Refusal:
            raise
        except Exception as error:
            raise Refusal(500, f"The preview failed: {error!r}") from error
