"""`Request` and `Response`: HTTP as the mailbox sees it, whatever it is mounted in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["Refusal", "Request", "Response", "as_json", "redirect"]

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
