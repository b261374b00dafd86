"""Untrusted HTML: cleaning it for the frame, and extracting its links and text.

Two independent defences protect the developer's browser: this cleaning, and the frame's
sandbox with its content security policy (`mailbackends.mailbox.http`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import unescape
from html.parser import HTMLParser
from itertools import islice
from urllib.parse import unquote, urlsplit

import nh3

__all__ = ["PLAIN_LINK", "Cleaned", "Link", "clean", "links", "plain_text"]

# Elements for layout; none that run, load, submit or navigate.
_TAGS = set(nh3.ALLOWED_TAGS) | {"font", "style", "main", "section", "label", "big", "address"}
_STYLING = {"style", "class", "id", "dir", "lang", "title", "align", "valign", "role"}
_SIZING = {"width", "height", "bgcolor", "background", "border", "color"}
_ATTRIBUTES = {
    "*": _STYLING | _SIZING | {"aria-label", "aria-hidden"},
    "a": {"href", "name"},
    "img": {"src", "srcset", "alt", "hspace", "vspace"},
    "font": {"face", "size"},
    "table": {"cellpadding", "cellspacing", "summary"},
    "td": {"colspan", "rowspan", "nowrap", "headers"},
    "th": {"colspan", "rowspan", "nowrap", "headers", "scope"},
    "col": {"span"},
    "ol": {"start", "type"},
    "style": {"media", "type"},
}
_SCHEMES = {"http", "https", "mailto", "tel", "cid", "data"}
_LOADS = {"src", "srcset", "background"}
_NEVER_FOLLOWED = {"javascript", "data", "vbscript", "file"}
_NOT_WORDS = {"script", "style", "title", "noscript", "template", "iframe", "object", "svg"}
_BLOCKS = {"p", "div", "br", "td", "th", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}
_LONGEST_TEXT = 500  # characters of a link's text
_MOST_LINKS = 2_000
# One image may be referred to a thousand times, and each reference embeds a copy.
_MOST_EMBEDDED = 16_000_000  # characters of data: URLs
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif|bmp)[;,]", re.IGNORECASE)
# No pattern backtracks over hostile input: all take linear time.
_CSS_URL = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^"'()]*))\s*\)?""", re.IGNORECASE)
_CSS_IMPORT = re.compile(r"@import\b[^;]*;?", re.IGNORECASE)
_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style>)", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"\b(href|src)(\s*=)", re.IGNORECASE)
_FILLING_BODY = re.compile(r"<body\b[^<>]*\b(?:margin|background|bgcolor)", re.IGNORECASE)
_BODY = re.compile(r"<(/?)body\b", re.IGNORECASE)
PLAIN_LINK = re.compile(r"\bhttps?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]}]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Cleaned HTML for the frame."""

    html: str
    remote: int
    """The number of references to other servers, whether removed or kept."""
    fills: bool = False
    """True if the message's body sets its own margin or background."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a message."""

    url: str
    text: str
    kind: str
    """"link", "image", or "text" for a link in the text alternative."""
    warning: str = ""
    """What is wrong with the link; empty if nothing is."""


def clean(
    markup: str,
    *,
    picture: Callable[[str], tuple[str, bytes] | None] = lambda content_id: None,
    remote: bool = False,
) -> Cleaned:
    """The HTML without scripts, and without references to other servers.

    Args:
        picture: returns the type and the bytes of the image with a Content-ID, which are
            embedded as a data: URL, up to 16 MB in all.
        remote: keep references to other servers.
    """
    found = 0
    embedded = 0

    @cache
    def data_url(content_id: str) -> str | None:
        image = picture(content_id)
        if image is None:
            return None
        return f"data:{image[0]};base64,{base64.b64encode(image[1]).decode()}"

    def address(url: str) -> str | None:
        nonlocal found, embedded
        url = url.strip()
        if url[:4].lower() == "cid:":
            data = data_url(unquote(url[4:]))
            if data is None or embedded + len(data) > _MOST_EMBEDDED:
                return None
            embedded += len(data)
            return data
        if _PICTURE.match(url):
            return url
        if url[:5].lower() == "data:":
            return None
        found += 1
        return url if remote else None

    def css(text: str) -> str:
        nonlocal found

        def replaced(match: re.Match[str]) -> str:
            kept = address(match[1] or match[2] or match[3] or "")
            return f"url('{kept}')" if kept and not set(kept) & set("'\\\n<>") else "none"

        if not remote:
            text, imports = _CSS_IMPORT.subn("", text)
            found += imports
        return _CSS_URL.sub(replaced, text)

    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return css(value)
        if name == "href":
            return value if not value.lower().startswith(("data:", "cid:")) else None
        if name == "srcset":
            kept = address(value)
            return kept if kept and not kept.startswith("data:") else None
        return address(value) if name in _LOADS else value

    html = nh3.clean(
        # nh3 would remove <body>, whose colours must stay.
        _BODY.sub(r"<\1div", markup),
        tags=_TAGS,
        clean_content_tags=_NOT_WORDS - {"style"},
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    html = _STYLE.sub(lambda match: match[1] + css(match[2]) + match[3], html)
    return Cleaned(html, found, _FILLING_BODY.search(markup) is not None)


class _Reader(HTMLParser):
    """Collects links from HTML that nh3 has normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._href: str | None = None
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._href, self._inside = given.get("data-href"), []
        elif source := given.get("data-src", ""):
            if not source.lower().startswith(("cid:", "data:")):
                self.links.append(Link(source, given.get("alt", ""), "image"))
            self._inside.append(given.get("alt", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._href:
            text = " ".join("".join(self._inside).split())[:_LONGEST_TEXT]
            url = self._href.strip()
            self.links.append(Link(url, text, "link", _warning(url, text)))
            self._href = None

    def handle_data(self, data: str) -> None:
        self._inside.append(data)


def _normalised(markup: str, tags: set[str], attributes: dict[str, set[str]]) -> str:
    # The standard library's parser alone takes quadratic time for broken HTML.
    return nh3.clean(
        markup,
        tags=tags,
        attributes=attributes,
        clean_content_tags=_NOT_WORDS,
        link_rel=None,
    )


def plain_text(markup: str) -> str:
    """The text of the HTML."""
    text = re.sub(r"<[^>]*>", " ", _normalised(markup, _BLOCKS, {}))
    return " ".join(unescape(text).split())


def links(html: str | None, text: str | None) -> list[Link]:
    """The links of a message in order, each once, at most 2,000."""
    reader = _Reader()
    if html:
        # Under other names: nh3 would remove the invalid URLs, which must be reported.
        renamed = _ADDRESS.sub(r"data-\1\2", html)
        kept = {"a": {"data-href"}, "img": {"data-src", "alt"}}
        reader.feed(_normalised(renamed, {"a", "img"}, kept))
        reader.close()
    plain = (match[0] for match in PLAIN_LINK.finditer(text or ""))
    found = dict.fromkeys(reader.links)
    found |= dict.fromkeys(
        Link(url, "", "text", _warning(url, "")) for url in islice(plain, _MOST_LINKS)
    )
    return list(islice(found, _MOST_LINKS))


def _warning(url: str, text: str) -> str:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return "The URL is invalid."
    if parts.scheme.lower() in _NEVER_FOLLOWED:
        return f"Mail programs do not follow {parts.scheme.lower()}: links."
    if not parts.scheme or (parts.scheme in ("http", "https") and not host):
        return "The URL is relative, which does not work in a message."
    shown = re.match(r"(?:https?://)?([a-z0-9-]+(?:\.[a-z0-9-]+)+)(?:[/:?#]|$)", text.lower())
    if shown and host and shown[1].removeprefix("www.") != host.removeprefix("www."):
        return f"The text names {shown[1]}, but the link leads to {host}."
    if host in ("localhost", "127.0.0.1", "::1", "testserver") or host.endswith(".local"):
        return "The link leads to the reader's own machine or network."
    return "The connection is not encrypted." if parts.scheme == "http" else ""
