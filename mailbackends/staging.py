"""Which recipients get mail on a staging system, and why a message is not sent on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailbackends.errors import ConfigurationError
from mailbackends.outcome import Outcome

__all__ = ["ORIGINAL_RECIPIENTS", "SendCancelled", "Staging"]

ORIGINAL_RECIPIENTS = "X-Original-Recipients"
"""The header field with the original recipients of a redirected message."""


class SendCancelled(Exception):
    """Raise this before a message is sent, in a receiver of the signal for that, to stop it.

    Cancelling is not a failure: nothing is wrong with the message or the server.
    """

    outcome = Outcome.NOT_SENT


@dataclass(frozen=True, slots=True)
class Staging:
    """Allowed recipients get a message.

    If there are others, the addresses of ``redirect_all_to`` get it in place of them.
    """

    redirect_all_to: tuple[str, ...] = ()
    allowed: frozenset[str] | None = None
    """Addresses, and domains that begin with ``@``, in lower case; None allows all."""

    @classmethod
    def of(
        cls,
        redirect_all_to: Any,
        allowed_recipients: Any,
        *,
        bare: Callable[[str], str],
        name: Callable[[str], str] = repr,
    ) -> Staging:
        """From two settings: each an address or a list of them, or None.

        ``bare`` returns the address without its display name; ``name`` what a setting is called.

        Raises:
            ConfigurationError: a value is not an address.
        """
        try:
            redirect = _as_tuple(redirect_all_to, name("redirect_all_to"))
            targets = tuple(map(bare, redirect))
            if allowed_recipients is None:
                return cls(targets)
            setting = name("allowed_recipients")
            allowed = _as_tuple(allowed_recipients, setting)
            return cls(targets, frozenset(_entry(item, bare, setting) for item in allowed))
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    @property
    def is_active(self) -> bool:
        """True if either setting is set."""
        return bool(self.redirect_all_to) or self.allowed is not None

    def apply(self, recipients: Iterable[str]) -> tuple[list[str], list[str]]:
        """Two lists: the addresses that get the message, and the recipients that do not.

        Raises:
            SendCancelled: nobody gets it.
        """
        sent_to: list[str] = []
        withheld: list[str] = []
        for address in recipients:
            (sent_to if self._is_allowed(address) else withheld).append(address)
        if withheld:
            sent_to += [address for address in self.redirect_all_to if address not in sent_to]
        if not sent_to:
            raise SendCancelled(
                f"none of the recipients is in allowed_recipients: {', '.join(withheld)}"
            )
        return sent_to, withheld

    def _is_allowed(self, address: str) -> bool:
        if self.allowed is None:
            return not self.redirect_all_to
        lowered = address.lower()
        return lowered in self.allowed or f"@{lowered.rpartition('@')[2]}" in self.allowed


def _as_tuple(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    entries = (value,) if isinstance(value, str) else value
    if not isinstance(entries, list | tuple | set | frozenset) or not all(
        isinstance(entry, str) for entry in entries
    ):
        raise ConfigurationError(f"{name} must be a list of addresses, got {value!r}.")
    return tuple(entries)


def _entry(item: str, bare: Callable[[str], str], name: str) -> str:
    lowered = item.strip().lower().removeprefix("*")
    if lowered.startswith("@") and "@" not in lowered[1:] and len(lowered) > 1:
        return lowered
    if "@" not in lowered:
        raise ConfigurationError(
            f"{name} contains {item!r}, which is neither an address nor a domain: "
            "write 'name@example.com' or '@example.com'."
        )
    return bare(lowered)
