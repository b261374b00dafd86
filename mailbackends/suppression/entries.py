"""Entries of a suppression list: how they are checked and compared, and which stops a message.

Pure functions, without clock, database or network.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from mailbackends.errors import ConfigurationError, InvalidAddressError
from mailbackends.mime.address import parse_path, to_ascii
from mailbackends.suppressed import EVERYTHING, Reason, Suppression
from mailbackends.texts import did_you_mean, one_line

__all__ = ["Exempt", "checked_scope", "chosen", "comparable", "new_entry"]

_LONGEST_SCOPE = 50
_LONGEST_ADDRESS = 320
_LONGEST_TEXT = 500

_QUOTED_PAIR = re.compile(r"\\(.)", re.S)
_DOT_STRING = re.compile(r'[^\s"(),:;<>@\[\\\]]+')


def comparable(address: str) -> str:
    """The address in the form in which a list stores and compares it.

    The domain is in lower case, as A-labels. The local part is folded, too: RFC 5321 section 2.4
    lets a server distinguish upper and lower case, and discourages it; no large provider does.
    To miss somebody who complained harms; that two people differ in case alone does not happen.
    Tags (``ada+news``) and dots stay, since they can be other mailboxes. Quotes that the local
    part does not need go: ``"ada"`` is ``ada`` (RFC 5321 section 4.1.2).
    """
    local, at, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
    if not at:
        return domain.casefold()
    if local[0:1] == '"' == local[-1:]:
        plain = _QUOTED_PAIR.sub(r"\1", local[1:-1])
        local = plain if _DOT_STRING.fullmatch(plain) else local
    domain = domain.lower().removesuffix(".")  # some servers take the root's dot
    if not domain.isascii():
        with suppress(InvalidAddressError):  # It is sent to nobody, with its own error.
            domain = to_ascii(f"a@{domain}").rpartition("@")[2].lower()
    return f"{local.casefold()}@{domain}"


def new_entry(
    address: str,
    reason: Reason | str = Reason.MANUAL,
    scope: str = EVERYTHING,
    *,
    source: str = "",
    detail: str = "",
    created_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Suppression:
    """An entry to be stored, checked.

    Raises:
        InvalidAddressError: ``address`` is not one address with a domain.
        ConfigurationError: another value is not usable.
    """
    path = parse_path(address)
    to_ascii(path)  # raises for a domain that does not exist
    if "@" not in path or len(path) > _LONGEST_ADDRESS:
        raise InvalidAddressError(
            f"{str(address)[:80]!r} is not an address that can be suppressed: write "
            "'name@example.com'"
        )
    try:
        known = Reason(reason)
    except ValueError:
        near = did_you_mean(str(reason), [each.value for each in Reason])
        raise ConfigurationError(f"unknown reason {str(reason)[:80]!r}: {near}") from None
    for name, moment in (("created_at", created_at), ("expires_at", expires_at)):
        if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
            raise ConfigurationError(
                f"{name} must be a datetime with a time zone, got {moment!r}: use "
                "datetime(..., tzinfo=UTC)"
            )
    return Suppression(
        comparable(path),
        known,
        checked_scope(scope),
        one_line(source)[:_LONGEST_TEXT],
        one_line(detail)[:_LONGEST_TEXT],
        created_at,
        expires_at,
    )


def checked_scope(scope: object) -> str:
    """The name of a stream, or ``"all"``.

    Raises:
        ConfigurationError: it is not a text of 1 to 50 characters in one line.
    """
    if (
        not isinstance(scope, str)
        or not 0 < len(scope) <= _LONGEST_SCOPE
        or one_line(scope) != scope
    ):
        raise ConfigurationError(
            f"a stream must be a name of 1 to {_LONGEST_SCOPE} characters such as 'newsletter', "
            f"or 'all', got {str(scope)[:80]!r}"
        )
    return scope


class Exempt:
    """Streams that reach a recipient in spite of an entry for all mail, and of which reasons.

    ``["password_reset"]`` exempts that stream from entries with the reason ``unsubscribed``:
    what people must not miss still reaches them. Other reasons, such as a complaint, hold unless
    they are named: ``{"password_reset": ["unsubscribed", "complaint"]}``.

    Raises:
        ConfigurationError: a name of a stream or of a reason is not usable.
    """

    def __init__(
        self, given: Mapping[str, Collection[str]] | Collection[str] | None = None
    ) -> None:
        if isinstance(given, str):
            raise ConfigurationError(
                f"exempt must be a list of streams, or a dictionary of reasons, got {given!r}: "
                f"write [{given!r}]"
            )
        reasons: Any = given if isinstance(given, Mapping) else {}
        self._reasons: dict[str, frozenset[Reason]] = {}
        for stream in given or ():
            names = reasons.get(stream, [Reason.UNSUBSCRIBED])
            try:
                found = frozenset(map(Reason, [names] if isinstance(names, str) else names))
            except ValueError as error:
                known = ", ".join(repr(each.value) for each in Reason)
                raise ConfigurationError(
                    f"exempt[{stream!r}]: {error}: the reasons are {known}"
                ) from None
            self._reasons[checked_scope(stream)] = found

    def __contains__(self, stream: str) -> bool:
        return stream in self._reasons

    def allows(self, entry: Suppression, stream: str | None) -> bool:
        """True if mail of this stream goes out in spite of the entry."""
        return entry.scope == EVERYTHING and entry.reason in self._reasons.get(stream or "", ())


# What is reported where several entries stop a message: the most serious.
_SERIOUS = (
    *(Reason.COMPLAINT, Reason.UNSUBSCRIBED, Reason.HARD_BOUNCE, Reason.REFUSED),
    *(Reason.MANUAL, Reason.SOFT_BOUNCE),
)


def chosen(
    entries: Iterable[Suppression], stream: str | None, exempt: Exempt, now: datetime
) -> Suppression | None:
    """The entry of one address that stops a message of this stream, or None.

    Mail without a stream is stopped by entries for all mail only.
    """
    found = [
        each
        for each in entries
        if each.scope in (EVERYTHING, stream)
        and (each.expires_at is None or each.expires_at > now)
        and not exempt.allows(each, stream)
    ]
    return min(found, key=lambda each: _SERIOUS.index(each.reason), default=None)
