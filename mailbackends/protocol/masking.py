"""Secrets out of everything that is shown: commands that are sent, and replies that quote them.

This is the only masking in the package. `Session` and `mailbackends.client` both use it, so
that a secret which a server repeats reaches no reply, error, log or debug output.
"""

from __future__ import annotations

import binascii
import re

from mailbackends.reply import Reply

__all__ = ["HIDDEN", "Masking", "masked_line", "secrets_in"]

HIDDEN = "***"

_AUTH = re.compile(r"(?im)^([ \t]*auth[ \t]+\S+[ \t]+)([^\r\n]+)")
_LINE = re.compile(r"()([^\r\n]+)")

# A shorter secret may be part of another word by chance: it is masked as a whole word only.
# And so many characters of base64, at either end, are enough to recognise a response of which
# a server quotes only a part.
_LONG = 8
_BASE64 = rb"[A-Za-z0-9+/=]*"


def masked_line(line: str, *, is_response: bool = False) -> str:
    """The line to show for a command line: what an AUTH command carries is ``***``.

    With ``is_response`` the line answers a challenge, and all of it is hidden (RFC 4954
    section 4).
    """
    return (_LINE if is_response else _AUTH).sub(rf"\g<1>{HIDDEN}", line)


def secrets_in(line: str, *, is_response: bool = False) -> list[str]:
    """The texts that `masked_line` hides in a command line."""
    return [found[1] for found in (_LINE if is_response else _AUTH).findall(line)]


class Masking:
    """Remembers the secrets that were sent over one connection, and masks them in replies.

    A server that cannot make sense of a response may quote it, as in ``501 5.5.4 cannot
    decode AHVzZXI...``. Some decode it first, some quote it in a later reply.
    """

    def __init__(self) -> None:
        self.has_secrets = False
        """True if there is anything to mask. An attribute, since it is asked for each reply."""
        self._patterns: dict[bytes, bytes] = {}
        self._public: set[bytes] = set()
        # Lower-case texts, one of which is in every reply that has something to mask.
        self._needles: tuple[bytes, ...] = ()
        self._pattern: re.Pattern[bytes] | None = None

    def exempt(self, *texts: str | None) -> None:
        """Leave these unmasked: a user name is sent like a secret, and is none."""
        self._public.update(text.encode("utf-8", "surrogateescape") for text in texts if text)

    def remember(self, response: str) -> None:
        """Mask a response of an AUTH exchange: in base64, decoded, and the secret in it."""
        encoded = response.encode("utf-8", "surrogateescape")
        try:
            decoded = binascii.a2b_base64(encoded)
        except binascii.Error:
            decoded = b""
        if decoded in self._public:
            return
        self._add(encoded, is_cut=len(encoded) >= _LONG)
        self._add(decoded)
        # The password of PLAIN (RFC 4616), and the token of OAuth's mechanisms (RFC 7628).
        self._add(decoded.rpartition(b"\0")[2])
        for part in decoded.split(b"\x01")[1:]:
            self._add(part.removeprefix(b"auth=Bearer "))

    def mask(self, text: bytes) -> bytes:
        """The text with ``***`` in place of each secret."""
        if not self._needles:
            return text
        # Nearly all replies quote nothing, and are recognised in a fraction of a microsecond.
        lowered = text.lower()
        for needle in self._needles:
            if needle in lowered:
                break
        else:
            return text
        if self._pattern is None:
            longest_first = sorted(self._patterns, key=len, reverse=True)
            either = b"|".join(self._patterns[secret] for secret in longest_first)
            self._pattern = re.compile(either, re.I)
        return self._pattern.sub(HIDDEN.encode(), text)

    def masked(self, reply: Reply) -> Reply:
        """The reply with ``***`` in place of each secret."""
        if not self._needles:
            return reply
        lines = tuple(map(self.mask, reply.lines))
        return reply if lines == reply.lines else Reply(reply.code, lines)

    def _add(self, secret: bytes, *, is_cut: bool = False) -> None:
        if not secret or secret in self._patterns or secret in self._public:
            return
        pattern = re.escape(secret)
        if is_cut:
            pattern += b"|" + re.escape(secret[:_LONG]) + _BASE64
            pattern += b"|" + _BASE64 + re.escape(secret[-_LONG:])
        elif len(secret) < _LONG:
            pattern = rb"(?<![^\W_])" + pattern + rb"(?![^\W_])"
        self._patterns[secret] = pattern
        ends = {secret[:_LONG].lower(), *({secret[-_LONG:].lower()} if is_cut else ())}
        self._needles = tuple({*self._needles, *ends})
        self._pattern = None
        self.has_secrets = True
