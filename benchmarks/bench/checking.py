"""Whether what arrived at the sink is what the clients were given to send."""

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

# What was found to be right in this run, by sample: the next of its kind is not parsed again.
_known: defaultdict[str, set[bytes]] = defaultdict(set)


class WrongContent(Exception):
    """A message arrived that nobody was given to send, or not all of them did."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as it came."""

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
    """Count what arrived; behind the first ``warm`` each must be the sample of that name.

    Raises:
        WrongContent: one is not, or there are more or fewer than ``count`` behind those.
    """
    if len(arrived) != warm + count:
        raise WrongContent(f"{len(arrived)} messages arrived, {warm + count} were sent")
    _check_each(arrived[:warm], WARM_UP)
    return {"messages": count, "bytes": _check_each(arrived[warm:], SAMPLES[name])}


def _check_each(arrived: Sequence[Arrived], sample: Sample) -> int:
    """How many bytes they have."""
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
    """The same for messages that differ only in what is new in each: Date, Message-ID, boundary.

    The body has to be the same to the last byte; so only one of each client has to be parsed.
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
