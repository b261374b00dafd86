"""What an application does wrong, found before a server hears of it.

::

    mailbackends.InvalidMessageError (ValueError)
    ├── BadHeaderError           a line break where a header could be smuggled in
    └── IncompleteMessageError   no sender or no recipient (also an AssertionError)
"""

from __future__ import annotations

from mailbackends import InvalidMessageError

__all__ = ["BadHeaderError", "ConfigurationWarning", "IncompleteMessageError"]


class BadHeaderError(InvalidMessageError):
    """A header, or an address, holds a line break. The text names the field and the value."""


class IncompleteMessageError(InvalidMessageError, AssertionError):
    """The message has no recipient or no sender.

    It is an ``AssertionError`` too, because that is what Flask-Mail raises here, and
    applications catch it.
    """


class ConfigurationWarning(UserWarning):
    """A ``MAIL_`` key has no effect. The text names the nearest key that has one."""
