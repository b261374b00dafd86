"""Which requests are allowed, and what a browser may do with a response."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from mailbackends.mailbox.http import Refusal, Request, Response

__all__ = ["FRAME", "FRAME_WITH_REMOTE", "PAGE", "check", "harden"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(?::[0-9]{1,5})?")

PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_SANDBOX = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
# The frame has an opaque origin, no scripts, no forms, and nothing to load from.
FRAME = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {_SANDBOX}"
FRAME_WITH_REMOTE = (
    "default-src 'none'; style-src 'unsafe-inline' http: https:; img-src data: http: https:; "
    f"font-src http: https:; {_SANDBOX}"
)


def check(request: Request, token: str, hosts: Collection[str]) -> None:
    """Check that a request comes from the mailbox's own page or from a program.

    Args:
        token: the token that forms of the page contain.
        hosts: further host names that are allowed, beside those of loopback.

    Raises:
        Refusal: it comes from elsewhere.
    """
    match = _HOST.fullmatch(request.headers.get("host", ""))
    name = match[1].strip("[]").lower().rstrip(".") if match else ""
    if not (
        name in _LOOPBACK
        or name.endswith(".localhost")
        or name in {host.lower() for host in hosts}
        or "*" in hosts
    ):
        # DNS rebinding: another website's name that resolves to 127.0.0.1 would let its pages
        # read all mail. The browser then sends that name.
        raise Refusal(
            421, f"The host name {name!r} is not allowed: use --allow-host, or the option hosts."
        )
    if request.method in ("GET", "HEAD"):
        return
    _check_origin(request)
    # A page of another origin cannot set its own header without a preflight request, which
    # is never granted, nor can it read the token.
    given = request.form.get("token", "")
    if "x-mailbox-request" not in request.headers and not hmac.compare_digest(
        given.encode(), token.encode()
    ):
        raise Refusal(403, "This form is out of date: reload the page.")


def _check_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    try:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        is_own = False
    if not is_own or site not in (None, "same-origin", "none"):
        raise Refusal(403, "The request comes from another website.")


def harden(response: Response) -> dict[str, str]:
    """All headers of the response, including those that restrict the browser."""
    return {
        "Content-Type": response.content_type,
        "Cache-Control": "no-store",
        "Content-Security-Policy": PAGE,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        # "no-referrer" would make the origin of the page's own forms "null".
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
        **response.headers,
    }
