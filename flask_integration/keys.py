"""Every ``MAIL_`` key there is, and what is wrong with one that is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mailbackends import Options

__all__ = ["INHERITED", "KEYS", "OPTION_OF", "PREFIX", "unknown_key"]

PREFIX = "MAIL_"

# Where to deliver, and how: the options of `mailbackends.Mailer`, under their own names
# and the one that Flask-Mail has for the host.
OPTION_OF = {name.upper(): name for name in Options.known()} | {"SERVER": "host"}

# What a mail is like and by which kind of backend it goes: a named mailer has these from
# the application unless it says otherwise.
INHERITED = frozenset(
    {
        "ASCII_ATTACHMENTS",
        "BACKEND",
        "DEBUG",
        "DEFAULT_CHARSET",
        "DEFAULT_SENDER",
        "FILE_PATH",
        "INLINE_CSS",
        "MAX_EMAILS",
        "SEND_OPTIONS",
        "TEXT_FROM_HTML",
        "USE_LOCALTIME",
    }
)

KEYS = (
    frozenset(OPTION_OF)
    | INHERITED
    | {"MAILERS", "STRATEGY", "SUPPRESS_SEND", "URL", "USE_SSL", "USE_TLS"}
)


def unknown_key(name: str, *, prefix: str = PREFIX, known: Iterable[str] = KEYS) -> str:
    """The text for a key that has no effect: the nearest one that has."""
    nearest = difflib.get_close_matches(name, sorted(known), n=1)
    mend = f"did you mean {prefix}{nearest[0]}?" if nearest else "it has no effect"
    return f"unknown configuration key {prefix}{name}: {mend}"
