"""`Request` and `Response`: all that the mailbox knows of HTTP, whatever it is mounted in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["Refusal", "Request", "Response", "as_json", "redirect"]

_MOST_FIELDS = 100


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    """Below the place where the mailbox is mounted, without a slash at the front."""
    base: str = "/"
    """That place, with a slash at both ends, quoted for a URL."""
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in small letters."""
    body: bytes = b""
    scheme: str = "http"
    may_wait: bool = True
    """False where a request that waits for news would keep all others waiting."""

    @cached_property
    def query(self) -> dict[str, str]:
        """The last value of each name."""
        return _fields(self.query_string)

    @cached_property
    def form(self) -> dict[str, str]:
        """The fields of a form; none where the body is none."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return {}
        return _fields(self.body.decode("utf-8", "replace"))

    def json(self) -> dict[str, Any]:
        """The body, an object in JSON.

        Raises:
            Refusal: it is something else.
        """
        try:
            value = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "The body is no JSON.") from error
        if not isinstance(value, dict):
            raise Refusal(400, "The body is no object in JSON.")
        return value

    def number(self, name: str, default: float, *, most: float) -> float:
        """A number of the query, from 0 to ``most``.

        Raises:
            Refusal: it is none.
        """
        try:
            value = float(self.query.get(name, default))
        except ValueError:
            value = float("nan")
        if not 0 <= value < float("inf"):
            raise Refusal(400, f"{name!r} is a number from 0.")
        return min(value, most)

    @property
    def wants_json(self) -> bool:
        """True below ``api/``."""
        return self.path.startswith("api/")


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that is not answered as it was meant; ``text`` is shown to whoever asked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def as_json(value: Any, status: int = 200) -> Response:
    """``value`` in JSON."""
    # Escaped, so that a browser that took it for HTML would find none.
    text = json.dumps(value, indent=2).replace("<", "\\u003c")
    return Response(text.encode() + b"\n", "application/json", status)


def redirect(url: str) -> Response:
    """Go there with GET."""
    return Response(b"", status=303, headers={"Location": url})


def _fields(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refusal(400, "There are too many fields.") from error
