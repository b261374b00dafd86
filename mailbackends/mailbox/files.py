"""The responses with a message's HTML, its parts and its source, safe for the browser."""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import quote

from mailbackends.mailbox.contents import View
from mailbackends.mailbox.http import FRAME, FRAME_WITH_REMOTE, Refusal, Response
from mailbackends.mailbox.message import Part, clean_name

__all__ = ["frame", "part", "raw", "static"]

# Types that browsers show without running anything.
_SHOWN = {
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "application/pdf",
    "text/plain",
}
_STATIC = {
    "mailbox.css": "text/css; charset=utf-8",
    "message.css": "text/css; charset=utf-8",
    "outbox.css": "text/css; charset=utf-8",
    "mailbox.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FRAME = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Message</title>
<style>body{margin:%s;font-family:system-ui,sans-serif;overflow-wrap:break-word}
img{max-width:100%%}</style></head>
<body>%s</body></html>"""


def frame(view: View, *, remote: bool) -> Response:
    """The HTML of a message for the frame in the page: cleaned, and sandboxed."""
    cleaned = view.cleaned(remote=remote)
    html = _FRAME % ("0" if cleaned.fills else "8px", cleaned.html)
    return Response(
        html.encode("utf-8", "replace"),
        headers={
            "Content-Security-Policy": FRAME_WITH_REMOTE if remote else FRAME,
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "SAMEORIGIN",
        },
    )


def raw(view: View, name: str) -> Response:
    """The whole message as a file."""
    return _download(view.message.content, "message/rfc822", f"{name}.eml", inline=False)


def part(found: Part, *, inline: bool) -> Response:
    """One part as a file. ``inline`` is respected for harmless types only."""
    inline = inline and found.content_type in _SHOWN
    kind = found.content_type if inline else "application/octet-stream"
    if kind == "text/plain":
        return _download(found.text.encode(), "text/plain; charset=utf-8", found.filename, inline)
    return _download(found.content, kind, found.filename, inline)


def static(name: str) -> Response:
    """A file of the page itself.

    Raises:
        Refusal: it does not exist.
    """
    if name not in _STATIC:
        raise Refusal(404, "This file does not exist.")
    content = files("mailbackends.mailbox").joinpath("static", name).read_bytes()
    return Response(content, _STATIC[name], headers={"Cache-Control": "no-cache"})


def _download(content: bytes, kind: str, filename: str, inline: bool) -> Response:
    name = clean_name(filename) or "file"
    # RFC 6266: plain ASCII for every client, and the real name for those that know filename*.
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in name)
    how = "inline" if inline else "attachment"
    return Response(
        content,
        kind,
        headers={
            "Content-Disposition": f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
            # Chromium's PDF viewer does not work in a sandbox, and has its own.
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"
            + ("; object-src 'self'" if kind == "application/pdf" else "; sandbox"),
        },
    )
