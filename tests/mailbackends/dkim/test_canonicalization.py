"""The canonical forms of header and body, and the examples of RFC 6376 and RFC 8463."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.dkim.canonicalization import BodyHash, fields_of, relaxed_field, simple_field
from mailbackends.dkim.signer import signing_input
from mailbackends.errors import InvalidMessageError

# RFC 6376 section 3.4.5: a space is written as _, a tab as ~.
EXAMPLE_HEADER = "A:_X\r\nB_:_Y~\r\n~Z__\r\n".replace("_", " ").replace("~", "\t").encode()
EXAMPLE_BODY = "_C_\r\nD_~_E\r\n\r\n\r\n".replace("_", " ").replace("~", "\t").encode()


def body_of(data: bytes, *, relaxed: bool) -> bytes:
    """The body in the canonical form, by the words of RFC 6376 sections 3.4.3 and 3.4.4."""
    lines = data.split(b"\r\n")
    if relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if relaxed else b"\r\n"
    return b"".join(line + b"\r\n" for line in lines)


def test_the_example_of_relaxed_forms() -> None:
    fields = fields_of(EXAMPLE_HEADER)
    assert b"".join(map(relaxed_field, fields)) == b"a:X\r\nb:Y Z\r\n"
    assert body_of(EXAMPLE_BODY, relaxed=True) == b" C\r\nD E\r\n"


def test_the_example_of_simple_forms() -> None:
    assert b"".join(map(simple_field, fields_of(EXAMPLE_HEADER))) == EXAMPLE_HEADER
    assert body_of(EXAMPLE_BODY, relaxed=False) == b" C \r\nD \t E\r\n"


@pytest.mark.parametrize("relaxed", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"\r\n", b"\r\n" * 5000, b" \r\n\t\r\n", b" ", b"a", b"a\r\n", b"a\r\n\r\n",
        b"a \t b \r\n\r\n \r\n", EXAMPLE_BODY, b"a" + b" " * 70_000 + b"\r\n",
        b"a" + b" \r\n" * 40_000, b"a" * 65_535 + b"\r\nb", b"a" * 65_535 + b"  \r\nb ",
        b"a\r\n" + b"\r\n" * 70_000 + b"b\r\n",
    ],
)  # fmt: skip
def test_the_hash_of_a_body_is_that_of_its_canonical_form(body: bytes, relaxed: bool) -> None:
    whole, starting_later = BodyHash(relaxed=relaxed), BodyHash(relaxed=relaxed)
    whole.update(body)
    starting_later.update(b"Header: x\r\n\r\n" + body, 13)
    expected = hashlib.sha256(body_of(body, relaxed=relaxed)).digest()
    assert whole.digest() == expected
    assert starting_later.digest() == expected


@given(
    st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"b" * 9, b"\x0b", b"\xc3\xa4", b"."])),
    st.sets(st.integers(0, 40)),
    st.booleans(),
)
def test_a_body_may_come_in_any_pieces(parts: list[bytes], cuts: set[int], relaxed: bool) -> None:
    body = BodyHash(relaxed=relaxed)
    piece: list[bytes] = []
    for place, part in enumerate(parts):
        piece.append(part)
        if place in cuts:
            body.update(b"".join(piece))
            piece = []
    body.update(b"".join(piece))
    expected = body_of(b"".join(parts), relaxed=relaxed)
    assert body.digest() == hashlib.sha256(expected).digest()


def test_only_white_space_of_rfc_5322_is_reduced() -> None:
    (field,) = fields_of(b"Subject:  a \x0b b\x0c\r\n\tc \r\n")
    assert relaxed_field(field) == b"subject:a \x0b b\x0c c\r\n"


@pytest.mark.parametrize(
    "header", [b"From me\r\n", b"A: b\r\n\xc3\xa4: c\r\n", b" a: b\r\n", b": a\r\n"]
)
def test_a_line_that_is_no_field_is_refused_by_name(header: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="is not a header field"):
        fields_of(header)


# RFC 6376 appendix A.2, with the indentation of erratum 4926; the public key is in appendix C.
RFC_6376 = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
RFC_6376_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
    "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0"
    "fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
# RFC 8463 appendix A.3: two signatures, by Ed25519 and by RSA.
RFC_8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
RFC_8463_SEED = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
RFC_8463_KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def example(message: bytes, number: int) -> tuple[bytes, bytes, bytes]:
    """What a signature of an example covers, the signature, and the hash of the body."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = fields_of(header + b"\r\n")
    value = [field for field in fields if field.name == b"dkim-signature"][number].value
    tags = dict(
        tag.strip().partition(b"=")[::2]  # the names of the tags have no space around them
        for tag in value.split(b";")
        if tag.strip()
    )
    names = tuple(name.strip().lower() for name in tags[b"h"].split(b":"))
    empty = re.sub(rb"(\sb=)[^;]*?(;?\r\n)\Z", lambda m: m[1] + m[2].strip(), value)
    relaxed = b"relaxed" in tags[b"c"]
    rest = [field for field in fields if field.name != b"dkim-signature"]
    hashed = BodyHash(relaxed=relaxed)
    hashed.update(body)
    assert base64.b64encode(hashed.digest()) == tags[b"bh"]
    return (
        signing_input(rest, names, empty, relaxed=relaxed),
        base64.b64decode(b"".join(tags[b"b"].split())),
        hashed.digest(),
    )


def test_the_example_of_rfc_6376_verifies() -> None:
    pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")
    from mailbackends.dkim.keys import RSA, PublicKey, verifies

    data, signature, _ = example(RFC_6376, 0)
    public = PublicKey(RSA, base64.b64decode(RFC_6376_KEY), 1024)
    assert verifies(public, hashlib.sha256(data).digest(), signature)
    assert not verifies(public, hashlib.sha256(data + b" ").digest(), signature)


def test_the_signatures_of_rfc_8463_are_made_again_bit_by_bit() -> None:
    pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mailbackends.dkim.keys import public_key_from

    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(RFC_8463_SEED))
    data, signature, _ = example(RFC_8463, 0)
    assert key.sign(hashlib.sha256(data).digest()) == signature
    public = public_key_from(key.public_key())
    assert public is not None
    assert public.base64 == RFC_8463_KEY


def test_the_signature_with_rsa_of_rfc_8463_verifies() -> None:
    pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")
    from mailbackends.dkim.keys import RSA, PublicKey, verifies

    # Its key has the selector "test", and is that of RFC 8463 appendix A.2.
    public = PublicKey(
        RSA,
        base64.b64decode(
            "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2"
            "jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvH"
            "O9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
        ),
        1024,
    )
    data, signature, _ = example(RFC_8463, 1)
    assert verifies(public, hashlib.sha256(data).digest(), signature)
