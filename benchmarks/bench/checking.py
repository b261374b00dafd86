"""Check that the messages at the sink are those that the clients sent."""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.samples import SAMPLES, SENDER, WARM_UP, Sample, fingerprint

__all__ = ["Arrived", "WrongContent", "check"]

_BOUNDARY = re.compile(rb'boundary="?([^";\r\n]+)', re.IGNORECASE)
_PATH = re.compile(rb"<([^>]*)>")

# Digests of correct contents, by sample: an equal one is not parsed again.
_known: defaultdict[str, set[bytes]] = defaultdict(set)


class WrongContent(Exception):
    """A wrong message arrived, or one is missing."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as it arrived."""

    mail: bytes
    rcpts: Sequence[bytes]
    chunks: Sequence[bytes | bytearray] = field(repr=False)
    dot_stuffed: bool

    def content(self) -> bytes:
        """The message without the dots that DATA needs (RFC 5321 section 4.5.2)."""
        content = b"".join(self.chunks)
        if not self.dot_stuffed:
            return content
        content = content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        return content[1:] if content.startswith(b"..") else content


def check(arrived: Sequence[Arrived], name: str, count: int, warm: int) -> Mapping[str, Any]:
    """Check that after the first ``warm`` messages each is the sample ``name``, and count them.

    Raises:
        WrongContent: a message differs, or there are more or fewer than ``count``.
    """
    if len(arrived) != warm + count:
        raise WrongContent(f"{len(arrived)} messages arrived, {warm + count} were sent")
    _check_each(arrived[:warm], WARM_UP)
    return {"messages": count, "bytes": _check_each(arrived[warm:], SAMPLES[name])}


def _check_each(arrived: Sequence[Arrived], sample: Sample) -> int:
    """Check each message. Returns their size in bytes."""
    known = _known[sample.name]
    size = 0
    for message in arrived:
        _check_envelope(message, sample)
        content = message.content()
        size += len(content)
        digest = _digest(content)
        if digest not in known:
            _check_content(content, sample)
            known.add(digest)
    return size


def _check_envelope(message: Arrived, sample: Sample) -> None:
    paths = [found[1].decode() for each in message.rcpts if (found := _PATH.search(each))]
    # In any order: Flask-Mail keeps them in a set.
    if sorted(paths) != sorted(sample.recipients):
        raise WrongContent(f"the recipients were {paths[:3]}... ({len(paths)})")
    if f"<{SENDER}>".encode() not in message.mail:
        raise WrongContent(f"the sender was {message.mail!r}")


def _check_content(content: bytes, sample: Sample) -> None:
    message = email.message_from_bytes(content, policy=email.policy.default)
    found, expected = fingerprint(message), sample.expected()
    if found != expected:
        raise WrongContent(f"this arrived: {found}; this was sent: {expected}")


def _digest(content: bytes) -> bytes:
    """A digest that ignores what differs in each message: Date, Message-ID, boundary.

    The body must be equal byte by byte, so that one message of each client must be parsed.
    """
    head, _, body = content.partition(b"\r\n\r\n")
    boundaries = set(_BOUNDARY.findall(head)) | set(_BOUNDARY.findall(body[:4096]))
    for boundary in boundaries:
        body = body.replace(boundary, b"")
    names = sorted(line.partition(b":")[0] for line in head.split(b"\r\n"))
    subject = re.search(rb"(?im)^subject:.*(?:\r\n[ \t].*)*", head)
    digest = hashlib.sha256(body)
    digest.update(b"\n".join(names))
    digest.update(subject[0] if subject else b"")
    return digest.digest()
