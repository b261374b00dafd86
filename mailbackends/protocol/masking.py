"""Secrets out of everything that is shown: commands that are sent, and replies that quote them.

This is the only masking in the package. `Session` and `mailbackends.client` both use it, so
that a secret which a server repeats reaches no reply, error, log or debug output.
"""

from __future__ import annotations

import binascii
import itertools
import re

from mailbackends.reply import Reply

__all__ = ["HIDDEN", "Masking", "masked_line", "secrets_in"]

HIDDEN = "***"

_AUTH = re.compile(r"(?im)^([ \t]*auth[ \t]+\S+[ \t]+)([^\r\n]+)")
_LINE = re.compile(r"()([^\r\n]+)")

# So many characters in a row, without white space, are taken for a part of a secret. A shorter
# secret may be part of another word by chance: it is masked as a whole word only.
_LONG = 8
# A secret with white space reaches a server's parser as words, and some quote one of them. Words of
# so many characters are masked by themselves; shorter ones ("the", "of") with the word next to
# them only, or what a server says would become unreadable, and show by its gaps what is secret.
_SHORTEST_WORD = 4
_PIECE = 5
_REMEMBERED = 32
_WORD = re.compile(rb"[^\s]{8,}")
# In front of the text in each line of a reply (RFC 2034 section 4).
_STATUS = re.compile(rb"[245]\.\d{1,3}\.\d{1,3} +")


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
        self.has_secrets: bool = False
        """True if there is anything to mask. An attribute, since it is asked for each reply."""
        self._patterns: dict[bytes, bytes] = {}
        self._public: set[bytes] = set()
        # Lower-case texts, one of which is in every reply with a secret that needs a pattern.
        self._needles: tuple[bytes, ...] = ()
        self._pattern: re.Pattern[bytes] | None = None
        # All secrets of which parts are masked, in lower case, and the pieces of `_PIECE` bytes
        # that begin at each fourth byte: each part of `_LONG` bytes contains one of them.
        self._long = b""
        self._pieces: set[bytes] = set()
        # Replies that quote nothing: a server repeats a few short ones.
        self._clean: set[tuple[bytes, ...]] = set()

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
        self._add(encoded)
        # As a whole, if it also names the user.
        self._add(decoded, has_parts=b"\0" not in decoded and b"\x01" not in decoded)
        # The password of PLAIN (RFC 4616), and the token of OAuth's mechanisms (RFC 7628).
        self._add(decoded.rpartition(b"\0")[2])
        for part in decoded.split(b"\x01")[1:]:
            self._add(part.removeprefix(b"auth=Bearer "))

    def mask(self, text: bytes) -> bytes:
        """The text with ``***`` in place of each secret, and of each longer part of one."""
        return self._masked_lines((text,))[0]

    def masked(self, reply: Reply) -> Reply:
        """The reply with ``***`` in place of each secret, even one split over several lines."""
        lines = self._masked_lines(reply.lines)
        return reply if lines is reply.lines else Reply(reply.code, lines)

    def _masked_lines(self, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if not self.has_secrets or lines in self._clean:
            return lines
        masked = self._with_hidden_secrets(lines)
        if masked is lines and len(self._clean) < _REMEMBERED:
            self._clean.add(lines)
        return masked

    def _with_hidden_secrets(self, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        # Nearly all replies quote nothing, and are recognised in a few microseconds.
        lowered = (lines[0] if len(lines) == 1 else b"\n".join(lines)).lower()
        for needle in self._needles:
            if needle in lowered:
                lines = tuple(map(self._by_pattern, lines))
                break
        if not self._pieces:
            return lines
        if len(lines) == 1:
            return self._without_parts(lines, (0,)) if self._may_quote(lowered) else lines
        # A long response may be quoted in several lines.
        matches = map(_STATUS.match, lines)
        heads = tuple(status.end() if status else 0 for status in matches)
        text = b"".join(line[head:] for line, head in zip(lines, heads, strict=True)).lower()
        return self._without_parts(lines, heads) if self._may_quote(text) else lines

    def _may_quote(self, text: bytes) -> bool:
        for word in _WORD.findall(text):
            ends = range(_PIECE, len(word) + 1)
            if not self._pieces.isdisjoint([word[end - _PIECE : end] for end in ends]):
                return True
        return False

    def _by_pattern(self, text: bytes) -> bytes:
        if self._pattern is None:
            longest_first = sorted(self._patterns, key=len, reverse=True)
            either = b"|".join(self._patterns[secret] for secret in longest_first)
            self._pattern = re.compile(either, re.I)
        return self._pattern.sub(HIDDEN.encode(), text)

    def _without_parts(self, lines: tuple[bytes, ...], heads: tuple[int, ...]) -> tuple[bytes, ...]:
        """The lines without parts of secrets; the ``heads`` are left out where they are joined."""
        text = b"".join(line[head:] for line, head in zip(lines, heads, strict=True)).lower()
        hidden = bytearray(len(text))
        for word in _WORD.finditer(text):
            for start in range(word.start(), word.end() - _LONG + 1):
                part = text[start : start + _LONG]
                if part in self._long and not any(part in each.lower() for each in self._public):
                    hidden[start : start + _LONG] = b"\1" * _LONG
        if not any(hidden):
            return lines
        masked, place = [], 0
        for line, head in zip(lines, heads, strict=True):
            marks = hidden[place : place + len(line) - head]
            place += len(marks)
            shown = bytearray(line[:head])
            for mark, run in itertools.groupby(
                zip(marks, line[head:], strict=True), lambda p: p[0]
            ):
                shown += HIDDEN.encode() if mark else bytes(byte for _, byte in run)
            masked.append(bytes(shown))
        return tuple(masked)

    def _add(self, secret: bytes, *, has_parts: bool = True) -> None:
        if not secret or secret in self._patterns or secret in self._public:
            return
        lowered = secret.lower()
        pattern = re.escape(secret)
        if len(secret) < _LONG:
            pattern = rb"(?<![^\W_])" + pattern + rb"(?![^\W_])"
        self._patterns[secret] = pattern
        self._needles = tuple({*self._needles, lowered[:_LONG]})
        self._pattern = None
        self.has_secrets = True
        self._clean.clear()
        if has_parts:
            if len(secret) >= _LONG:
                self._long += lowered + b"\n"
                self._pieces.update(lowered[at : at + _PIECE] for at in range(0, len(lowered), 4))
            self._add_words(secret)

    def _add_words(self, secret: bytes) -> None:
        text = secret.decode("utf-8", "surrogateescape")
        if len(words := text.split()) < 2:
            return
        public = {word for name in self._public for word in name.lower().split()}
        end = 0
        for word, following in zip(words, [*words[1:], ""], strict=True):
            start = text.index(word, end)
            end = start + len(word)
            parts = [word] if len(word) >= _SHORTEST_WORD else []
            if following:
                parts.append(text[start : text.index(following, end) + len(following)])
            for part in parts:
                encoded = part.encode("utf-8", "surrogateescape")
                if encoded.lower() not in public:
                    self._add(encoded, has_parts=False)
