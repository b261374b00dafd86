"""A Secret reveals its text only when asked."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import pprint
import traceback

import pytest

from mailbackends.secret import Secret, SecretCallable
from mailbackends.texts import jsonable

TEXT = "hunter2"


class Lazy:
    """A lazy string such as Flask-Babel's: it has the methods of a string, and is not a string."""

    def __getattr__(self, name: str) -> object:
        return getattr(TEXT, name)

    def __str__(self) -> str:
        return TEXT


class Subclass(str):
    """A string of another type, such as Django's SafeString."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


@pytest.mark.parametrize("text", [TEXT, Lazy(), Subclass(TEXT), Secret(TEXT)])
def test_reveal_returns_plain_text(text: str) -> None:
    assert Secret(text).reveal() == TEXT
    assert type(Secret(text).reveal()) is str


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(TEXT)),
        str(Secret(TEXT)),
        f"{Secret(TEXT)} {Secret(TEXT)!r} {Secret(TEXT):>20}",
        "%s %r" % (Secret(TEXT), Secret(TEXT)),  # noqa: UP031
        pprint.pformat({"password": Secret(TEXT)}),
        json.dumps({"password": Secret(TEXT)}, default=str),
        repr(jsonable(Secret(TEXT))),
        repr([getattr(Secret(TEXT), name) for name in dir(Secret(TEXT))]),
        repr(SecretCallable(functools.partial(len, TEXT))),
        repr(dir(Secret(TEXT))),
    ],
)
def test_nothing_shows_the_text(shown: str) -> None:
    assert TEXT not in shown
    assert "***" in shown or "reveal" in shown


def test_equal_texts_are_equal_secrets_and_never_strings() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret("another")
    assert Secret(TEXT) != TEXT
    assert {Secret(TEXT): 1}[Secret(TEXT)] == 1


def test_an_empty_secret_is_false() -> None:
    assert Secret(TEXT)
    assert not Secret("")


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match=r"cannot be pickled.*reveal\(\) if you mean it"):
        pickle.dumps(Secret(TEXT))


def test_copies_are_equal() -> None:
    assert copy.copy(Secret(TEXT)) == copy.deepcopy({1: Secret(TEXT)})[1] == Secret(TEXT)


@pytest.mark.parametrize("value", [None, 5, TEXT.encode(), [TEXT], str, len])
def test_what_is_not_text_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(TypeError, match="a secret must be text, got") as caught:
        Secret(value)  # type: ignore[arg-type]
    error = caught.value
    assert error.__traceback__ is not None
    frame = traceback.TracebackException(
        TypeError, error, error.__traceback__.tb_next, capture_locals=True
    )
    assert TEXT not in "".join(frame.format())


def test_a_callable_is_called_and_compared() -> None:
    assert SecretCallable(TEXT.upper)() == "HUNTER2"
    assert SecretCallable(TEXT.upper) == SecretCallable(TEXT.upper)
    assert SecretCallable(TEXT.upper) != SecretCallable(TEXT.lower)
    assert hash(SecretCallable(TEXT.upper)) == hash(SecretCallable(TEXT.upper))
    assert SecretCallable(len) != len  # type: ignore[comparison-overlap]
