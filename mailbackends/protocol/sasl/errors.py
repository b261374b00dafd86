"""What can go wrong in an authentication exchange, and whose fault it is.

::

    ValueError
    └── SASLError
        ├── SASLCredentialsError    ours: these credentials cannot be used with this mechanism
        └── SASLServerError         the server's: it broke the mechanism, or is not who it should be

No exception carries a password, a token or any part of one, nor do the local variables
of the frames in its traceback: error trackers collect both.
"""

from __future__ import annotations

__all__ = ["SASLCredentialsError", "SASLError", "SASLServerError"]


class SASLError(ValueError):
    """An authentication exchange cannot go on.

    Where the exchange has begun, the client cancels it with a line of a single ``*``
    (RFC 4954 section 4), which the server answers with 501.
    """


class SASLCredentialsError(SASLError):
    """A user name, a password or a token cannot be used with this mechanism.

    Raised by the mechanism's first word, before anything of it went on the wire:
    another mechanism may still be tried on the same connection.
    """


class SASLServerError(SASLError):
    """The server said what the mechanism does not allow, or failed to prove who it is.

    The server may be an impostor that asks for more than it should: do not go on to a
    mechanism that would show it the password.
    """
