"""Who may ask, and what a browser may do with an answer."""

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
# The frame has no origin of its own, no script, no form, and nothing to load from.
FRAME = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {_SANDBOX}"
FRAME_WITH_REMOTE = (
    "default-src 'none'; style-src 'unsafe-inline' http: https:; img-src data: http: https:; "
    f"font-src http: https:; {_SANDBOX}"
)


def check(request: Request, token: str, hosts: Collection[str]) -> None:
    """Let through who may ask for this.

    Args:
        token: what forms of the page bring along.
        hosts: names by which it may be called beside those of loopback.

    Raises:
        Refusal: another may not.
    """
    match = _HOST.fullmatch(request.headers.get("host", ""))
    name = match[1].strip("[]").lower().rstrip(".") if match else ""
    if not (
        name in _LOOPBACK
        or name.endswith(".localhost")
        or name in {host.lower() for host in hosts}
        or "*" in hosts
    ):
        # A page of a stranger whose name was made to mean 127.0.0.1 (DNS rebinding) could
        # read all mail: its browser calls us by that name.
        raise Refusal(421, f"The mailbox does not go by the name {name!r} here.")
    if request.method in ("GET", "HEAD"):
        return
    _check_origin(request)
    # A page of another origin can neither set a header of its own without asking first,
    # which is never granted, nor read the token.
    given = request.form.get("token", "")
    if "x-mailbox-request" not in request.headers and not hmac.compare_digest(
        given.encode(), token.encode()
    ):
        raise Refusal(403, "This form is from another mailbox, or an old one: load the page again.")


def _check_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    try:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        is_own = False
    if not is_own or site not in (None, "same-origin", "none"):
        raise Refusal(403, "Another website asked for this.")


def harden(response: Response) -> dict[str, str]:
    """All headers of the answer, those that keep a browser from doing more among them."""
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
