"""Values as text for errors and logs, and as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from mailbackends.reply import Reply
from mailbackends.texts import did_you_mean, jsonable, nearest, plain_text

KNOWN = ("timeout", "pool_size", "pool_timeout")


def test_the_nearest_known_name_is_suggested() -> None:
    assert nearest("pool_sise", KNOWN) == "pool_size"
    assert did_you_mean("pool_sise", KNOWN) == "did you mean 'pool_size'?"


def test_if_no_name_is_near_all_are_listed() -> None:
    assert nearest("zzz", KNOWN) is None
    assert did_you_mean("zzz", KNOWN) == "choose from 'pool_size', 'pool_timeout', 'timeout'"


class Text(str):
    """A string of another type."""

    __slots__ = ()


@pytest.mark.parametrize("value", ["text", Text("text")])
def test_text_is_plain_text(value: str) -> None:
    assert plain_text(value) == "text"
    assert type(plain_text(value)) is str


@pytest.mark.parametrize("value", [None, 1, b"text", ["text"], str, object(), len])
def test_anything_else_is_not_text(value: object) -> None:
    assert plain_text(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (b"\xff", "\\xff"),
        ({1: (2, {3})}, {"1": [2, [3]]}),
        (Reply(250, (b"ok",)), {"code": 250, "text": "ok", "enhanced_status": None}),
        (str, "<class 'str'>"),
    ],
)
def test_jsonable_makes_jsons_types_of_anything(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected
