"""Which mechanisms to try, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mailbackends.errors import ConfigurationError, SMTPNotSupportedError
from mailbackends.protocol.sasl.mechanism import Credentials, Mechanism
from mailbackends.protocol.sasl.scram import ScramSHA1, ScramSHA256
from mailbackends.protocol.sasl.simple import (
    CramMD5,
    External,
    Login,
    OAuthBearer,
    Plain,
    XOAuth2,
)

__all__ = ["MECHANISMS", "choose"]

MECHANISMS: tuple[type[Mechanism], ...] = (
    External,  # no secret at all, and only if it is allowed by name
    OAuthBearer,  # a token is valid for an hour and one service; errors give the reason
    XOAuth2,  # the same token, but not a standard
    ScramSHA256,  # the password is not sent, and the server proves that it knows it
    ScramSHA1,
    CramMD5,  # the password is not sent; the server proves nothing
    Plain,  # the password is sent, in one round trip
    Login,  # the same, in more
)
"""All mechanisms, from strong to weak."""

# RFC 4422 section 3.1. Anything else that a server announces is not repeated in an error.
_NAME = re.compile(r"[A-Z0-9_-]{1,20}")
_MOST_SHOWN = 20


def choose(
    advertised: Iterable[str],
    credentials: Credentials,
    allowed: Sequence[str] | None = None,
) -> list[type[Mechanism]]:
    """Return the mechanisms to try, from strong to weak: at least one.

    Call the class with the credentials for each attempt. ``advertised`` are the names in
    the EHLO reply. ``allowed``, if given, excludes all mechanisms that it does not name; its
    order does not matter. Names are compared case-insensitively.

    Raises:
        ConfigurationError: ``allowed`` names an unknown mechanism.
        SMTPNotSupportedError: the server offers no usable mechanism.
    """
    wanted = None if allowed is None else _known(allowed)
    usable = [
        mechanism
        for mechanism in MECHANISMS
        if (not mechanism.only_if_asked if wanted is None else mechanism.name in wanted)
        and mechanism.is_usable_with(credentials)
    ]
    offered = {name.upper() for name in advertised}
    chosen = [mechanism for mechanism in usable if mechanism.name in offered]
    if chosen:
        return chosen
    # The first sentence is the standard library's.
    raise SMTPNotSupportedError(
        "No suitable authentication method found. "
        f"The server offers {_shown(offered)}; "
        f"{'' if wanted is None else f'of those allowed ({_shown(wanted)}) '}"
        f"these credentials can be used with {_listed(usable)}."
    )


def _known(allowed: Sequence[str]) -> set[str]:
    wanted = {name.upper() for name in allowed}
    unknown = wanted - {mechanism.name for mechanism in MECHANISMS}
    if unknown:
        raise ConfigurationError(
            f"unknown authentication mechanism {min(unknown)!r}: known are {_listed(MECHANISMS)}"
        )
    return wanted


def _listed(mechanisms: Sequence[type[Mechanism]]) -> str:
    return ", ".join(mechanism.name for mechanism in mechanisms) or "none"


def _shown(names: Iterable[str]) -> str:
    proper = sorted(name for name in names if _NAME.fullmatch(name))
    more = ", ..." if len(proper) > _MOST_SHOWN else ""
    return (", ".join(proper[:_MOST_SHOWN]) or "none") + more
