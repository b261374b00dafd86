"""The pages, rendered from the templates."""

from __future__ import annotations

import time
import traceback
import zlib
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mailbackends.mailbox import markup
from mailbackends.mailbox.contents import Contents, View
from mailbackends.mailbox.faults import KINDS
from mailbackends.mailbox.http import Refusal, Request, Response
from mailbackends.previews import Preview

__all__ = ["faults", "index", "list_items", "message", "preview", "previews", "refusal"]

_LIST = 200  # lines
VIEWS = ("html", "text", "headers", "links", "source", "receipt", "notes")


def index(box: Contents, request: Request) -> Response:
    """The list of messages, and how to send to the mailbox."""
    return _page("index.html", box, request, **_listing(box, request))


def list_items(box: Contents, request: Request) -> Response:
    """The list alone, which replaces the one in the page."""
    return _page("_list.html", box, request, **_listing(box, request))


def message(box: Contents, request: Request, view: View) -> Response:
    """The list and one message."""
    return _page("message.html", box, request, **_listing(box, request), **_shown(request, view))


def previews(box: Contents, request: Request) -> Response:
    """The list of previews."""
    return _page("previews.html", box, request, groups=_groups(box), one=None)


def preview(box: Contents, request: Request, one: Preview, view: View | None) -> Response:
    """One preview. If ``view`` is None, the current exception is shown."""
    error = traceback.format_exc() if view is None else None
    shown = _shown(request, view) if view else {}
    return _page("previews.html", box, request, groups=_groups(box), one=one, error=error, **shown)


def faults(box: Contents, request: Request, *, error: str = "", status: int = 200) -> Response:
    """The faults. ``error`` is shown after an invalid form."""
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


def refusal(box: Contents, request: Request, refused: Refusal) -> Response:
    """An error page."""
    return _page("refusal.html", box, request, status=refused.status, text=refused.text)


def _groups(box: Contents) -> list[tuple[str, list[Preview]]]:
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


def _listing(box: Contents, request: Request) -> dict[str, Any]:
    search = request.query.get("q", "")[:200]
    # Read before the list: if a message arrives in between, the list is loaded once too
    # often, and no message is missed.
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
    name: str, box: Contents, request: Request, *, status: int = 200, **values: Any
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
    """The display name in ``Ada <ada@example.com>``, or else the address."""
    name = author.partition("<")[0].strip().strip('"')
    return name or author.strip("<>") or "(no sender)"


def _hue(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "replace")) % 8


def _initial(text: str) -> str:
    return next((char.upper() for char in _person(text) if char.isalnum()), "?")


def _linked(text: str) -> Markup:
    """The text with its URLs as links."""
    shown, end = [], 0
    for match in markup.PLAIN_LINK.finditer(text):
        url = escape(match[0])
        shown += [escape(text[end : match.start()])]
        shown += [
            Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>').format(url)
        ]
        end = match.end()
    return Markup("").join([*shown, escape(text[end:])])
