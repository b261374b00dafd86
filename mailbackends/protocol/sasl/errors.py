"""The errors of an authentication exchange, and whose fault each one is.

::

    ValueError
    └── SASLError
        ├── SASLCredentialsError    the credentials cannot be used with this mechanism
        ├── SASLRestartError        the exchange must start again, without initial response
        └── SASLServerError         the server broke the mechanism, or may be an impostor

No exception carries a password, a token or a part of one, and neither do the local variables
of the frames in its traceback: error trackers collect both.
"""

from __future__ import annotations

__all__ = ["SASLCredentialsError", "SASLError", "SASLRestartError", "SASLServerError"]


class SASLError(ValueError):
    """An authentication exchange cannot go on.

    If the exchange has begun, the client cancels it with a line that contains only ``*``,
    which the server answers with 501 (RFC 4954 section 4).
    """


class SASLCredentialsError(SASLError):
    """A user name, a password or a token cannot be used with this mechanism.

    Raised before anything was sent: another mechanism may still be tried on the same
    connection.
    """


class SASLRestartError(SASLError):
    """The server may have ignored the initial response: start again without one."""


class SASLServerError(SASLError):
    """The server sent what the mechanism does not allow, or did not prove its identity.

    It may be an impostor that asks for more than it should: do not go on to a mechanism that
    would send it the password.
    """
