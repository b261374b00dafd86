"""``esmtp_features``: the reply to EHLO in the form that `smtplib` gives it."""

from __future__ import annotations

import re

__all__ = ["OLDSTYLE_AUTH", "parse_features"]

# Before RFC 2554 mechanisms were announced as "AUTH=LOGIN PLAIN".
OLDSTYLE_AUTH = re.compile(r"auth=(.*)", re.I)

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*")


def parse_features(text: bytes) -> dict[str, str]:
    """Keywords in lower case to their parameters; a line that cannot be read is passed over.

    The mechanisms of several AUTH lines, old style and new, are put together, a space
    before each line's.
    """
    features: dict[str, str] = {}
    for line in text.decode("latin-1").split("\n")[1:]:
        if old_style := OLDSTYLE_AUTH.match(line):
            keyword, parameters = "auth", old_style[1]
        elif match := _KEYWORD.match(line):
            keyword, parameters = match[0].lower(), line[match.end() :].strip()
        else:
            continue
        if keyword == "auth":
            parameters = f"{features.get('auth', '')} {parameters}"
        features[keyword] = parameters
    return features
