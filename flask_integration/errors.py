"""The errors that only the Flask integration raises, before anything is sent.

::

    mailbackends.InvalidMessageError
    ├── BadHeaderError           a header contains a line break
    └── IncompleteMessageError   no sender or no recipient (also an AssertionError)
"""

from __future__ import annotations

from mailbackends import InvalidMessageError

__all__ = ["BadHeaderError", "ConfigurationWarning", "IncompleteMessageError"]


class BadHeaderError(InvalidMessageError):
    """A header or an address contains a line break. The text names the field and the value."""


class IncompleteMessageError(InvalidMessageError, AssertionError):
    """The message has no recipient or no sender.

    Also an ``AssertionError``, because Flask-Mail raises that and applications catch it.
    """


class ConfigurationWarning(UserWarning):
    """A ``MAIL_`` key has no effect. The text suggests the nearest key that has one."""
