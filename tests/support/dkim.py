"""Keys for DKIM, the records of their domains, and dkimpy as the judge of signatures."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest

from mailbackends.dkim import DKIM
from mailbackends.dkim.keys import ED25519, RSA, generate
from mailbackends.dkim.record import record_of
from mailbackends.secret import Secret

__all__ = ["ALGORITHMS", "ED25519", "FORMS", "RSA", "key_for", "pem_of", "records", "verify"]

ALGORITHMS = (RSA, ED25519)
FORMS = ("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple")


@functools.cache
def pem_of(algorithm: str, number: int) -> Secret:
    """A private key, made once; each number is another one."""
    pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")
    return generate(algorithm)


def key_for(
    domain: str = "example.com",
    selector: str = "s1",
    *,
    algorithm: str = RSA,
    number: int = 0,
    **options: object,
) -> DKIM:
    """A key for the option ``dkim``."""
    return DKIM(domain=domain, selector=selector, key=pem_of(algorithm, number), **options)  # type: ignore[arg-type]


def records(*keys: DKIM) -> dict[str, str]:
    """The TXT record of each key, by its name."""
    found = {}
    for key in keys:
        public = key.signing_key.public
        assert public is not None
        found[key.record_name] = record_of(public)
    return found


def verify(content: bytes, published: Mapping[str, str]) -> list[bool]:
    """Whether dkimpy verifies each signature, the first one of the message first."""
    dkim = pytest.importorskip("dkim", reason="dkimpy is not installed here")

    def resolve(name: bytes, timeout: int = 5) -> bytes | None:
        text = published.get(name.decode("ascii").rstrip("."))
        return text.encode("ascii") if text is not None else None

    count = content.partition(b"\r\n\r\n")[0].lower().count(b"dkim-signature:")
    judge = dkim.DKIM(content, minkey=1024)

    def is_valid(index: int) -> bool:
        try:
            return bool(judge.verify(idx=index, dnsfunc=resolve))
        except dkim.ValidationError:
            return False

    return [is_valid(index) for index in range(count)]
