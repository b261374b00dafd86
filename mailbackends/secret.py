"""Secrets: a type whose content nothing shows by accident.

A password, a token or a URL that contains one becomes a `Secret` where it enters, and its text
is taken out only where bytes for a server are made of it. In between it is in frames,
attributes and dictionaries that tracebacks, debug pages, logs and error reporters print.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from mailbackends.texts import plain_text

__all__ = ["NotText", "Secret", "SecretCallable", "without_frames"]


E = TypeVar("E", bound=BaseException)


class Secret:
    """Text that ``repr()``, ``str()``, formatting and pickling do not reveal.

    `reveal` returns it. Secrets with the same text are equal and have the same hash; a secret
    is never equal to a string. An empty one is false.

    Raises:
        TypeError: it is made from something other than text. The value is not shown.
    """

    __slots__ = ("__reveal",)
    __reveal: Callable[[], str]

    def __init__(self, text: str | Secret) -> None:
        revealed: str | None
        if type(text) is str:  # nearly always, and once for each message in Django
            revealed = text
        else:
            revealed = text.reveal() if isinstance(text, Secret) else plain_text(text)
        if revealed is None:
            kind, text = type(text).__name__, ""  # a traceback shows the variables of this frame
            raise TypeError(f"a secret must be text, got {kind}")
        # In a closure: tools that print the attributes of objects do not look into those.
        text_of = revealed
        self.__reveal: Callable[[], str] = lambda: text_of

    def reveal(self) -> str:
        """The text."""
        return self.__reveal()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.__reveal() == other.__reveal()

    def __hash__(self) -> int:
        return hash(self.__reveal())

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a secret cannot be pickled, because the pickle would contain it in clear: "
            "pickle what it was read from, or its reveal() if you mean it"
        )


class SecretCallable:
    """A callable that returns a secret; its ``repr()`` does not show what it is bound to.

    That of a `functools.partial` shows its arguments, which may contain a client secret.
    """

    __slots__ = ("__call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.__call = call

    def __call__(self, *args: Any) -> Any:
        return self.__call(*args)

    def reject(self) -> None:
        """Pass on that the secret was refused, if the callable has this method too."""
        reject = getattr(self.__call, "reject", None)
        if callable(reject):
            reject()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretCallable):
            return NotImplemented
        return bool(self.__call == other.__call)

    def __hash__(self) -> int:
        return hash((SecretCallable, self.__call))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


@dataclass(frozen=True, slots=True)
class NotText:
    """In place of a secret that is not text: only its type, so that the error can name it."""

    kind: str


def without_frames(error: E) -> E:
    """The error, with tracebacks of it and its causes that show none of our own frames.

    For interfaces whose methods must pass secrets on as text, because subclasses override
    them: the variables of their frames would show them.
    """
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = _others(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    return error


def _others(frames: TracebackType | None) -> TracebackType | None:
    if frames is None:
        return None
    following = _others(frames.tb_next)
    if frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "mailbackends":
        return following
    return TracebackType(following, frames.tb_frame, frames.tb_lasti, frames.tb_lineno)
