"""HTTP for the mailbox, wherever it is mounted: `Request`, `Response`, and what browsers may do."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = [
    "FRAME",
    "FRAME_WITH_REMOTE",
    "PAGE",
    "Refusal",
    "Request",
    "Response",
    "as_json",
    "check_origin",
    "check_request",
    "hardened_headers",
    "redirect",
]

_MOST_FIELDS = 300  # a selection of all messages in the list, and the token


@dataclass(frozen=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    """The path below the mailbox, without a leading slash."""
    base: str = "/"
    """The path where the mailbox is mounted, with a slash at both ends, quoted for a URL."""
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names to values."""
    body: bytes = b""
    scheme: str = "http"
    may_wait: bool = True
    """False if a waiting request would block all others."""

    @cached_property
    def query(self) -> dict[str, str]:
        """The parameters; of several with the same name the last."""
        return _fields(self.query_string)

    @cached_property
    def form(self) -> dict[str, str]:
        """The fields of a form; empty if the body is something else."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return {}
        return _fields(self.body.decode("utf-8", "replace"))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Refusal: it is not a JSON object.
        """
        try:
            value = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "The body is not JSON.") from error
        if not isinstance(value, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return value

    def number(self, name: str, default: float, *, most: float) -> float:
        """A number in the query; more than ``most`` becomes ``most``.

        Raises:
            Refusal: it is not a number, or below 0.
        """
        try:
            value = float(self.query.get(name, default))
        except ValueError:
            value = float("nan")
        if not 0 <= value < float("inf"):
            raise Refusal(400, f"{name!r} must be a number from 0.")
        return min(value, most)

    @property
    def wants_json(self) -> bool:
        """True for paths below ``api/``."""
        return self.path.startswith("api/")


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that fails with this status; the client sees ``text``."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def as_json(value: Any, status: int = 200) -> Response:
    """A response with ``value`` as JSON."""
    # Escaped, so that it is harmless even if a browser treats it as HTML.
    text = json.dumps(value, indent=2).replace("<", "\\u003c")
    return Response(text.encode() + b"\n", "application/json", status)


def redirect(url: str) -> Response:
    """A redirect (303) to ``url``."""
    return Response(b"", status=303, headers={"Location": url})


def _fields(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refusal(400, "The request has too many fields.") from error


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


def check_request(request: Request, token: str, hosts: Collection[str]) -> None:
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
    check_origin(request)
    # A page of another origin cannot set its own header without a preflight request, which
    # is never granted, nor can it read the token.
    given = request.form.get("token", "")
    if "x-mailbox-request" not in request.headers and not hmac.compare_digest(
        given.encode(), token.encode()
    ):
        raise Refusal(403, "This form is out of date: reload the page.")


def check_origin(request: Request) -> None:
    """Check that a browser does not send the request for another website.

    Raises:
        Refusal: it does.
    """
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    try:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        is_own = False
    if not is_own or site not in (None, "same-origin", "none"):
        raise Refusal(403, "The request comes from another website.")


def hardened_headers(response: Response) -> dict[str, str]:
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
