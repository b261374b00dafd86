"""Compares two views of the same messages: the server's and the caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mailbackends import Outcome, Receipt, SMTPDeliveryUnknown, SMTPException

__all__ = ["Letter", "check", "letter"]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message; its content is unique, and identifies it in the server's record."""

    content: bytes
    sender: str
    recipients: tuple[str, ...]


def letter(number: int, size: int = 0) -> Letter:
    """A short one, or one of ``size`` bytes and a few more, with dots at the start of lines."""
    people = tuple(f"{name}{number}@x" for name in "abc")
    body = b".%d\r\n" % number
    body += (b"." + b"x" * 75 + b"\r\n") * (size // 78)
    return Letter(b"N: %d\r\n\r\n%s" % (number, body), f"s{number}@x", people)


def check(
    sent: Iterable[tuple[Letter, Receipt | Exception]], delivered: Counter[tuple[bytes, str]]
) -> list[Outcome]:
    """Return the outcome of each message, after checking it against what was delivered.

    Raises:
        AssertionError: it does not.
    """
    books = Counter(delivered)
    outcomes = []
    for one, result in sent:
        told = _told(one, result)
        assert sorted(told) == sorted(one.recipients), f"not all are accounted for: {result!r}"
        for recipient, outcome in told.items():
            times = books.pop((one.content, recipient), 0)
            allowed = {Outcome.ACCEPTED: {1}, Outcome.UNKNOWN: {0, 1}}.get(outcome, {0})
            assert times in allowed, (
                f"{one.content!r} for {recipient} is there {times} times, "
                f"and the caller got: {outcome} ({result!r})"
            )
        outcomes.append(_whole(result))
    assert not books, f"nobody sent these: {books}"
    return outcomes


def _whole(result: Receipt | Exception) -> Outcome:
    if isinstance(result, Receipt):
        return Outcome.ACCEPTED
    assert isinstance(result, SMTPException), f"not documented: {result!r}"
    assert result.outcome is not None, f"no outcome: {result!r}"
    assert (result.outcome is Outcome.UNKNOWN) is isinstance(result, SMTPDeliveryUnknown)
    assert "\n" not in str(result)
    return result.outcome


def _told(one: Letter, result: Receipt | Exception) -> dict[str, Outcome]:
    """The outcome that the caller got for each recipient."""
    if isinstance(result, Receipt):
        return result.outcomes
    whole = _whole(result)
    assert isinstance(result, SMTPException)
    told = dict.fromkeys(result.accepted, Outcome.ACCEPTED)
    told |= dict.fromkeys(result.refused, Outcome.REFUSED)
    if isinstance(result, SMTPDeliveryUnknown):
        assert result.unknown, f"nothing is unknown: {result!r}"
        assert not told.keys() & set(result.unknown)
        return told | dict.fromkeys(result.unknown, Outcome.UNKNOWN)
    assert whole is not Outcome.ACCEPTED
    assert not result.accepted, f"accepted for some, and raised: {result!r}"
    return dict.fromkeys(one.recipients, whole) | told
