"""The step DKIM: what is published for a key, compared with the key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mailbackends.dkim import DKIM
from mailbackends.dkim.keys import verifies
from mailbackends.dkim.record import (
    Comparison,
    Resolver,
    compared,
    look_up,
    published_key,
    record_of,
    zone_lines,
)
from mailbackends.errors import ConfigurationError, SMTPConnectionError

__all__ = ["examine_key"]


def examine_key(key: DKIM, resolver: Resolver | None = None) -> tuple[list[str], list[str]]:
    """Findings and warnings on one key of the option ``dkim``.

    Raises:
        ConfigurationError: no signature by it can be verified. The text has the record to
            publish.
        SigningError: the application's callable failed.
        OSError: the record cannot be looked up.
    """
    signing_key = key.signing_key
    findings = [f"{key.record_name}, {signing_key.public or signing_key.algorithm}"]
    if key.senders:
        findings.append(f"signs mail from {', '.join(key.senders)}")
    warnings: list[str] = []
    public = signing_key.public
    publish = ""
    if public is not None:
        record = zone_lines(key.record_name, record_of(public))
        publish = f": publish {' '.join(record.split())}"
        if public.algorithm == "rsa-sha256" and public.bits < 2048:
            warnings.append(f"the key has {public.bits} bits: make one with 2048 (RFC 8301)")
    try:
        records = (resolver or look_up)(key.record_name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.args[0]}{publish}") from error
    except OSError as error:
        raise SMTPConnectionError(f"{error}{publish}") from error
    comparison = _tried(key, records) if public is None else compared(public, records)
    if comparison.error:
        raise ConfigurationError(f"{key.record_name}: {comparison.error}{publish}")
    findings.append("the published key matches")
    return findings, list(dict.fromkeys([*warnings, *comparison.warnings]))


def _tried(key: DKIM, records: Sequence[str]) -> Comparison:
    """What is wrong with the record, if only a callable can sign: whether it verifies that."""
    published, comparison = published_key(records)
    if published is None:
        return comparison
    digest = hashlib.sha256(b"mailbackends doctor").digest()
    signature = key.signing_key.sign(digest)
    if published.algorithm != key.signing_key.algorithm or not verifies(
        published, digest, signature
    ):
        return Comparison("the published key does not verify a signature by sign")
    return comparison
