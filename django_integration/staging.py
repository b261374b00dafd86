"""Which recipients get mail on a staging system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django_integration.addresses import prep_address
from django_integration.compat import configuration_error

__all__ = ["Staging"]

ORIGINAL_RECIPIENTS = "X-Original-Recipients"
"""The header field with the original recipients of a redirected message."""


@dataclass(frozen=True, slots=True)
class Staging:
    """``redirect_all_to`` and ``allowed_recipients``.

    Allowed recipients get the message. If there are others, the addresses of
    ``redirect_all_to`` get it in place of them.
    """

    redirect_all_to: tuple[str, ...] = ()
    allowed: frozenset[str] | None = None
    """Addresses, and domains that begin with ``@``, in lower case; None allows all."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any], alias: str | None) -> Staging:
        """The values of the two options.

        Raises:
            SettingsError: a value is not an address. InvalidMailer: the same, with an alias.
        """
        redirect = _as_tuple(options.get("redirect_all_to"), "redirect_all_to", alias)
        allowed = options.get("allowed_recipients")
        if allowed is not None:
            allowed = _as_tuple(allowed, "allowed_recipients", alias)
        return _parsed(redirect, allowed, alias)

    @property
    def is_active(self) -> bool:
        """True if either option is set."""
        return bool(self.redirect_all_to) or self.allowed is not None

    def apply(self, recipients: Iterable[str]) -> tuple[list[str], list[str]]:
        """Two lists: the addresses that get the message, and the recipients that do not."""
        sent_to: list[str] = []
        withheld: list[str] = []
        for address in recipients:
            (sent_to if self._is_allowed(address) else withheld).append(address)
        if withheld:
            sent_to += [address for address in self.redirect_all_to if address not in sent_to]
        return sent_to, withheld

    def _is_allowed(self, address: str) -> bool:
        if self.allowed is None:
            return not self.redirect_all_to
        lowered = address.lower()
        return lowered in self.allowed or f"@{lowered.rpartition('@')[2]}" in self.allowed


def _as_tuple(value: Any, name: str, alias: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    entries = (value,) if isinstance(value, str) else value
    if not isinstance(entries, list | tuple | set | frozenset) or not all(
        isinstance(entry, str) for entry in entries
    ):
        raise configuration_error(f"{name!r} must be a list of addresses, got {value!r}.", alias)
    return tuple(entries)


@lru_cache(maxsize=64)  # Django makes a backend for each message, from the same settings
def _parsed(
    redirect: tuple[str, ...], allowed: tuple[str, ...] | None, alias: str | None
) -> Staging:
    try:
        targets = tuple(prep_address(address) for address in redirect)
        entries = None if allowed is None else frozenset(_entry(item) for item in allowed)
    except ValueError as error:
        raise configuration_error(str(error), alias) from error
    return Staging(targets, entries)


def _entry(item: str) -> str:
    lowered = item.strip().lower().removeprefix("*")
    if lowered.startswith("@") and "@" not in lowered[1:] and len(lowered) > 1:
        return lowered
    if "@" not in lowered:
        raise ValueError(
            f"'allowed_recipients' contains {item!r}, which is neither an address nor a domain: "
            "write 'name@example.com' or '@example.com'."
        )
    return prep_address(lowered)
