"""`Signer`: a DKIM-Signature field in front of a content, which covers the bytes that are sent."""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from mailbackends.dkim.canonicalization import (
    BodyHash,
    RawField,
    fields_of,
    relaxed_field,
    simple_field,
)
from mailbackends.dkim.settings import DKIM
from mailbackends.errors import InvalidAddressError, InvalidMessageError, SigningError
from mailbackends.mime.address import addresses_in, plain_address, to_a_labels
from mailbackends.mime.content import Content
from mailbackends.mime.pieces import Encoded, Piece

__all__ = [
    "OVERSIGNED",
    "SIGNED",
    "Signer",
    "checked_signature",
    "signing_input",
]

logger: logging.Logger = logging.getLogger("mailbackends.dkim")

# Listed once more than they occur, so that none can be added on the way (RFC 6376 section 8.15).
# RFC 8058 section 4 requires a signature that covers the last two.
OVERSIGNED = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id"),
    *("mime-version", "content-type", "content-transfer-encoding"),
    *("list-unsubscribe", "list-unsubscribe-post"),
)
# Listed as often as they occur: forwarders and mailing lists may add these.
SIGNED = (
    *("sender", "in-reply-to", "references"),
    *("content-id", "content-description", "content-disposition", "content-language"),
    *("list-id", "list-help", "list-subscribe", "list-post", "list-owner", "list-archive"),
    *("resent-date", "resent-from", "resent-sender", "resent-to", "resent-cc"),
    *("resent-message-id", "auto-submitted", "feedback-id", "x-auto-response-suppress"),
    *("disposition-notification-to", "importance", "precedence", "autocrypt"),
)

_LINE = 72
# Domains that have no key are logged once each, and no more of them than this.
_MOST_LOGGED = 1000


class Signer:
    """Signs contents with the keys that are meant for their senders. Thread-safe."""

    def __init__(self, keys: Sequence[DKIM], now: Callable[[], float] = time.time) -> None:
        self._keys = tuple(keys)
        self._now = now
        self._logged: set[str] = set()
        self.is_local: bool = all(key.is_local for key in keys)
        """True if signing computes only; else it may wait for the application's callables."""

    def __call__(self, content: Content) -> Content:
        """The content with its signatures, or the same one if no key is meant for its sender.

        A file is read and hashed now, and compared while it is sent.

        Raises:
            InvalidMessageError: the header is malformed, has no From field or several, or a
                file cannot be read.
            SigningError: the application's callable failed.
        """
        header = content.header()
        keys, fields = self._keys_for(header)
        if not keys:
            return content
        body, pieces = _hashed(content.pieces, len(header) + 2, _body_forms(keys))
        signature = b"".join(self._signature(key, fields, body) for key in keys)
        return Content(tuple(pieces), content.is_8bit, content.size).with_head(signature)

    def _keys_for(self, header: bytes) -> tuple[list[DKIM], list[RawField]]:
        try:
            fields = fields_of(header)
        except InvalidMessageError:
            if not self._matching(_domains(_readable(header))):
                return [], []
            raise
        domains = _domains(fields)
        keys = self._matching(domains)
        if not keys:
            self._log_unsigned(domains)
            return [], fields
        count = sum(field.name == b"from" for field in fields)
        if count != 1:
            raise InvalidMessageError(
                f"the message has {count or 'no'} From field{'s' if count else ''}, and a DKIM "
                "signature needs exactly one (RFC 5322 section 3.6): write one"
            )
        return keys, fields

    def _matching(self, domains: Sequence[str]) -> list[DKIM]:
        """The keys for the first of the domains that has any, and those for all senders."""
        matches = [[key.match(domain) for key in self._keys] for domain in domains]
        best = next((max(row) for row in matches if max(row) > 0), 0)
        row = next((row for row in matches if best and max(row) == best), None)
        everywhere = [key.match("") == -1 for key in self._keys]
        return [
            key
            for place, key in enumerate(self._keys)
            if everywhere[place] or (row is not None and row[place] == best)
        ]

    def _log_unsigned(self, domains: Sequence[str]) -> None:
        domain = domains[0] if domains else "(no address in From)"
        if domain not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(domain)
            logger.warning(
                "mail from %s is sent without a DKIM signature: no key is for that domain; "
                "add it to the senders of one",
                domain,
            )

    def _signature(self, key: DKIM, fields: list[RawField], body: dict[bool, bytes]) -> bytes:
        header_form, _, body_form = key.canonicalization.partition("/")
        names = _signed_names(tuple(field.name for field in fields), key.fields)
        signing_key = key.signing_key
        algorithm = signing_key.algorithm
        value = (
            f" v=1; a={algorithm}; c={key.canonicalization};\r\n"
            f" d={key.domain}; s={key.selector};\r\n"
            f" t={int(self._now())}; {_folded_names(names)};\r\n"
            f" bh={base64.b64encode(body[body_form == 'relaxed']).decode('ascii')};\r\n"
            " b="
        ).encode("ascii")
        data = signing_input(fields, names, value, relaxed=header_form == "relaxed")
        try:
            signed = signing_key.sign(hashlib.sha256(data).digest())
        except Exception as error:
            raise SigningError(
                f"no DKIM signature by {key.record_name}: the callable raised "
                f"{type(error).__name__}: see the exception before this one"
            ) from error
        text = base64.b64encode(checked_signature(signed, algorithm, key.record_name))
        lines = (text[place : place + _LINE] for place in range(0, len(text), _LINE))
        return b"DKIM-Signature:" + value + b"\r\n  ".join(lines) + b"\r\n"


def checked_signature(signed: object, algorithm: str, name: str) -> bytes:
    """What a callable returned as a signature.

    Raises:
        SigningError: it cannot be one: verifiers would reject the message.
    """
    lengths = (64, 64) if algorithm.startswith("ed25519") else (128, 1024)
    if not isinstance(signed, bytes):
        raise SigningError(
            f"no DKIM signature by {name}: sign must return bytes, got {type(signed).__name__}"
        )
    if not lengths[0] <= len(signed) <= lengths[1]:
        raise SigningError(
            f"no DKIM signature by {name}: sign returned {len(signed)} bytes, which is no "
            f"signature of {algorithm}: return the raw signature, not encoded"
        )
    return signed


def signing_input(
    fields: Sequence[RawField], names: Sequence[bytes], signature: bytes, *, relaxed: bool
) -> bytes:
    """The bytes that are signed (RFC 6376 section 3.7).

    ``names`` is the list in ``h=``; of several fields with one name the last comes first
    (section 5.4.2). ``signature`` is the value of the DKIM-Signature field with an empty ``b=``.
    """
    form = relaxed_field if relaxed else simple_field
    left: defaultdict[bytes, list[RawField]] = defaultdict(list)
    for field in fields:
        left[field.name].append(field)
    chosen = [form(left[name].pop()) for name in names if left[name]]
    own = RawField(b"dkim-signature", signature, b"DKIM-Signature:" + signature)
    last = form(own)
    return b"".join(chosen) + (last[:-2] if last.endswith(b"\r\n") else last)


@functools.lru_cache(maxsize=256)
def _signed_names(present: tuple[bytes, ...], further: tuple[str, ...]) -> tuple[bytes, ...]:
    names: list[bytes] = []
    for name in dict.fromkeys((*OVERSIGNED, *SIGNED, *further)):
        encoded = name.encode("ascii")
        names += [encoded] * (present.count(encoded) + (name in OVERSIGNED))
    return tuple(names)


@functools.lru_cache(maxsize=256)
def _folded_names(names: tuple[bytes, ...]) -> str:
    lines, line = [], "h="
    for place, name in enumerate(names):
        text = name.decode("ascii") + (":" if place < len(names) - 1 else "")
        if len(line) + len(text) > _LINE and line.strip() != "h=":
            lines.append(line)
            line = "  "
        line += text
    return "\r\n".join((*lines, line))


def _domains(fields: Sequence[RawField]) -> list[str]:
    """The domains that may sign as the sender: of the author, or else of who sends it again."""
    for name in (b"from", b"resent-from", b"sender"):
        found = [
            domain for field in fields if field.name == name for domain in _domains_in(field.value)
        ]
        if name == b"from":
            author = found
        elif found:
            return [*author, *found]
    return author


def _domains_in(value: bytes) -> list[str]:
    text = b" ".join(value.split()).decode("utf-8", "replace")
    plain = plain_address(text)
    try:
        paths = [plain] if plain is not None else addresses_in("From", text)
    except InvalidAddressError:
        return []
    domains = []
    for path in paths:
        domain = path.rpartition("@")[2]
        try:
            domains.append((domain if domain.isascii() else to_a_labels(domain)).lower())
        except InvalidAddressError:
            continue
    return domains


def _readable(header: bytes) -> list[RawField]:
    """The fields of a malformed header as far as its lines are fields."""
    found: list[RawField] = []
    for line in header.splitlines(keepends=True):
        try:
            found += fields_of(line)
        except InvalidMessageError:
            continue
    return found


def _body_forms(keys: Sequence[DKIM]) -> set[bool]:
    """Whether the body is needed in the form ``relaxed`` (True), ``simple`` (False), or both."""
    return {key.canonicalization.endswith("/relaxed") for key in keys}


def _hashed(
    pieces: Sequence[Piece], start: int, forms: set[bool]
) -> tuple[dict[bool, bytes], list[Piece]]:
    """The hash of the body, which begins ``start`` bytes later, and the pieces to send."""
    hashes = {relaxed: BodyHash(relaxed=relaxed) for relaxed in forms}
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            for body in hashes.values():
                body.update(piece, min(start, len(piece)))
            start = max(0, start - len(piece))
            out.append(piece)
        else:
            checksum = 0
            for buffer in piece.pieces():
                checksum = zlib.crc32(buffer, checksum) if piece.may_change else 0
                for body in hashes.values():
                    body.update(buffer)
            out.append(_Unchanged(piece, checksum) if piece.may_change else piece)
    return {relaxed: body.digest() for relaxed, body in hashes.items()}, out


class _Unchanged(Encoded):
    """A piece that must have the same bytes as when it was hashed.

    Its last buffer is sent only if it has. A checksum is enough: nobody wants to deceive, and
    a second SHA-256 takes three times as long.
    """

    __slots__ = ("_checksum", "_piece", "ends_line", "size")

    def __init__(self, piece: Encoded, checksum: int) -> None:
        self._piece = piece
        self._checksum = checksum
        self.size = piece.size
        self.ends_line = piece.ends_line

    def pieces(self) -> Iterator[bytes]:
        checksum, last = 0, b""
        for buffer in self._piece.pieces():
            if last:
                yield last
            checksum, last = zlib.crc32(buffer, checksum), buffer
        if checksum != self._checksum:
            raise InvalidMessageError(
                f"{self._piece} changed after it was signed: send the message again, and leave "
                "the file unchanged meanwhile"
            )
        yield last

    def holds(self, text: str) -> bool:
        return self._piece.holds(text)
