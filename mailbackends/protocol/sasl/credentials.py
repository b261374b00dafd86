"""What a client logs in with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and with what. Its ``repr()`` shows no secret.

    ``token_provider`` returns a valid OAuth 2.0 access token. It is called anew for each
    attempt, so that a second attempt after a 535 carries a fresh one; what it raises goes
    to the caller as it is.

    ``authorization_identity`` is whom to act as, where that is not the user who logs in
    (RFC 4422 section 3.4.1). Mechanisms that cannot carry it are left out.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_provider: Callable[[], str] | None = field(default=None, repr=False)
    authorization_identity: str | None = None

    @property
    def has_password(self) -> bool:
        """True where there is a user name with a password, an empty one included."""
        return self.username is not None and self.password is not None
