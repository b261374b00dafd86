"""The pages: what the templates are given."""

from __future__ import annotations

import time
import traceback
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mailbackends.mailbox import headers, markup
from mailbackends.mailbox.faults import KINDS
from mailbackends.mailbox.http import Refusal, Request, Response
from mailbackends.mailbox.mail import Mail
from mailbackends.mailbox.message import Message, Part

if TYPE_CHECKING:
    from mailbackends.mailbox.mailbox import Mailbox
    from mailbackends.previews import Preview

__all__ = ["View", "faults", "index", "list_items", "message", "preview", "previews", "refusal"]

_LIST = 200  # lines
_LONGEST_SOURCE = 1_000_000  # characters shown; the file has all
VIEWS = ("html", "text", "headers", "links", "source", "receipt", "notes")


@dataclass
class View:
    """A message in the page: one that arrived, or a preview."""

    message: Message
    place: str
    """Its own address below the mailbox, with a slash at its end."""
    mail: Mail | None = None

    @cached_property
    def links(self) -> list[markup.Link]:
        """Where it leads."""
        return markup.links(self.message.html, self.message.text)

    @cached_property
    def notes(self) -> list[headers.Note]:
        """What is worth a look."""
        return headers.notes(self.message, self.mail.arrival.sender if self.mail else None)

    @property
    def fields(self) -> list[headers.Field]:
        """Header fields, explained."""
        return headers.explained(self.message)

    @property
    def source(self) -> str:
        """The content as text, not decoded, as much of it as a page can hold."""
        return self.message.content[:_LONGEST_SOURCE].decode("utf-8", "backslashreplace")

    @property
    def is_cut(self) -> bool:
        """True where `source` is not all."""
        return len(self.message.content) > _LONGEST_SOURCE

    def cleaned(self, *, remote: bool = False) -> markup.Cleaned:
        """The HTML made harmless."""
        return markup.clean(self.message.html or "", picture=self._picture, remote=remote)

    @cached_property
    def remote(self) -> int:
        """How much the HTML would load from other servers."""
        return self.cleaned().remote

    def _picture(self, content_id: str) -> tuple[str, bytes] | None:
        part = self.message.by_content_id(content_id)
        if part is None or not part.content_type.startswith("image/"):
            return None
        return part.content_type, part.content

    def part(self, index: int) -> Part | None:
        """The leaf of this number."""
        parts = self.message.parts
        return parts[index] if 0 <= index < len(parts) else None


def index(box: Mailbox, request: Request) -> Response:
    """The list, and how to send here."""
    return _page("index.html", box, request, **_listing(box, request))


def list_items(box: Mailbox, request: Request) -> Response:
    """The list alone, to be put in place of the one in the page."""
    return _page("_list.html", box, request, **_listing(box, request))


def message(box: Mailbox, request: Request, view: View) -> Response:
    """The list, and one message beside it."""
    return _page("message.html", box, request, **_listing(box, request), **_shown(request, view))


def previews(box: Mailbox, request: Request) -> Response:
    """The application's own mails."""
    return _page("previews.html", box, request, groups=_groups(box), one=None)


def preview(box: Mailbox, request: Request, one: Preview, view: View | None) -> Response:
    """One of them. It is called in an ``except`` block where ``view`` is None."""
    error = traceback.format_exc() if view is None else None
    shown = _shown(request, view) if view else {}
    return _page("previews.html", box, request, groups=_groups(box), one=one, error=error, **shown)


def faults(box: Mailbox, request: Request, *, error: str = "", status: int = 200) -> Response:
    """What goes wrong on demand. ``error`` says why what was asked for cannot be."""
    return _page(
        "faults.html",
        box,
        request,
        status=status,
        faults=box.faults.all(),
        kinds=KINDS,
        error=error,
        given=request.form,
    )


def refusal(box: Mailbox, request: Request, refused: Refusal) -> Response:
    """Why something is not shown."""
    return _page("refusal.html", box, request, status=refused.status, text=refused.text)


def _groups(box: Mailbox) -> list[tuple[str, list[Preview]]]:
    return [(name, list(ones)) for name, ones in groupby(box.previews, lambda one: one.group)]


def _shown(request: Request, view: View) -> dict[str, Any]:
    wanted = request.query.get("view", "")
    if wanted not in VIEWS:
        wanted = "html" if view.message.html is not None else "text"
    return {
        "view": view,
        "tab": wanted,
        "remote": request.query.get("remote") == "1",
        "message": view.message,
        "mail": view.mail,
    }


def _listing(box: Mailbox, request: Request) -> dict[str, Any]:
    search = request.query.get("q", "")[:200]
    # Read before the list: a message that comes in between is then shown twice over at
    # worst, and never missed.
    version = box.store.version
    return {
        "search": search,
        "version": version,
        "lines": box.store.find(search, limit=_LIST),
        "found": box.store.count(search),
        "unread": box.store.unread(),
        "selected": request.query.get("selected", ""),
    }


def _page(
    name: str, box: Mailbox, request: Request, *, status: int = 200, **values: Any
) -> Response:
    values = {"box": box, "base": request.base, "token": box.store.token, "search": "", **values}
    text = _templates().get_template(name).render(values)
    return Response(text.encode("utf-8", "replace"), status=status)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("mailbackends.mailbox"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        size=_size, clock=_clock, moment=_moment, hue=_hue, initial=_initial, linked=_linked,
        quoted=lambda text: quote(text, safe=""), person=_person,
    )  # fmt: skip
    return templates


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.{1 if count < 10_000 else 0}f} kB"
    return f"{count / 1_000_000:.1f} MB"


def _clock(when: float) -> str:
    then, today = time.localtime(when), time.localtime()
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return f"{then.tm_mday} {time.strftime('%b' if then[0] == today[0] else '%b %Y', then)}"


def _moment(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _person(author: str) -> str:
    """The name of ``Ada <ada@example.com>``, or else the address."""
    name = author.partition("<")[0].strip().strip('"')
    return name or author.strip("<>") or "(no sender)"


def _hue(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "replace")) % 8


def _initial(text: str) -> str:
    return next((char.upper() for char in _person(text) if char.isalnum()), "?")


def _linked(text: str) -> Markup:
    """Text with its links to be clicked on."""
    shown, end = [], 0
    for match in markup.PLAIN_LINK.finditer(text):
        url = escape(match[0])
        shown += [escape(text[end : match.start()])]
        shown += [
            Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>').format(url)
        ]
        end = match.end()
    return Markup("").join([*shown, escape(text[end:])])
