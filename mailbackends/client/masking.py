"""What may be shown of a conversation: everything but credentials."""

from __future__ import annotations

import re

from mailbackends.client.quoting import Data

__all__ = ["Masking"]

_HIDDEN = "***"
_AUTH = re.compile(r"(?im)^([ \t]*auth[ \t]+\S+[ \t]+)([^\r\n]+)")
_LINE = re.compile(r"()([^\r\n]+)")
# A shorter one stands in other texts by chance.
_SHORTEST_QUOTED = 8


class Masking:
    """Follows the conversation, and hides what an AUTH exchange carries (RFC 4954).

    The initial response is what stands behind the mechanism's name in the AUTH command; a
    response is any line sent behind a 334. A server that cannot make sense of a response
    may quote it (``500 unknown command ...``): there it is hidden too.
    """

    def __init__(self) -> None:
        self.is_in_exchange = False
        """True behind a 334: what is sent now is an answer to a challenge. The client's to set."""
        self._secrets: set[bytes] = set()

    def line(self, line: str) -> str:
        """The line to show for one that is sent."""
        return (_LINE if self.is_in_exchange else _AUTH).sub(self._hide, line)

    def sent(self, data: Data) -> bytes | str:
        """The text to show for what is sent: text for text, bytes for bytes."""
        if isinstance(data, str):
            return self.line(data)
        return self.line(bytes(data).decode("latin-1")).encode("latin-1")

    def received(self, text: bytes) -> bytes:
        """The text to show for what was received."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN.encode())
        return text

    def remember(self, response: str) -> None:
        """Hide this too where the server quotes it."""
        if len(response) >= _SHORTEST_QUOTED:
            self._secrets.add(response.encode("utf-8", "surrogateescape"))

    def _hide(self, match: re.Match[str]) -> str:
        self.remember(match[2])
        return match[1] + _HIDDEN
