"""What a DKIM signature costs, beside dkimpy and a bare signature by cryptography.

``python benchmarks/signing.py`` prints CPU milliseconds of this process, the best of several
rounds. It needs the extra ``dkim`` and dkimpy.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from email.message import EmailMessage

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailbackends import DKIM
from mailbackends.dkim import Signer
from mailbackends.dkim.keys import generate
from mailbackends.mime.content import Content, from_message


def milliseconds(work: Callable[[], object], count: int, rounds: int = 7) -> float:
    """The CPU time of one call of ``work``."""
    found = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(count):
            work()
        found.append((time.process_time() - started) / count * 1000)
    return min(found)


def message(attachment: int = 0) -> EmailMessage:
    """A message of 2 KB, or one with an attachment of so many bytes."""
    made = EmailMessage()
    made["From"], made["To"] = "shop@example.com", "ada@example.net"
    made["Subject"], made["Message-ID"] = "Your order", "<1@example.com>"
    made.set_content("It is on its way to you.\n" * 74)
    if attachment:
        data = os.urandom(attachment)
        made.add_attachment(data, maintype="application", subtype="pdf", filename="invoice.pdf")
    return made


def drained(content: Content) -> None:
    """Make all bytes, as sending does."""
    for _ in content.chunk():
        pass


def main() -> None:
    """Measure and print."""
    import dkim  # type: ignore[import-untyped]

    pem = generate()
    sign = Signer([DKIM(domain="example.com", selector="s1", key=pem)])
    data = pem.reveal().encode()

    def by_dkimpy(content: bytes) -> None:
        dkim.sign(content, b"s1", b"example.com", data, canonicalize=(b"relaxed", b"relaxed"))

    key = load_pem_private_key(data, None)
    small, large = message(), message(5_000_000)
    content = from_message(small)
    small_bytes, large_bytes = (b"".join(from_message(each).chunk()) for each in (small, large))
    rows = {
        "2 KB: cryptography's signature alone": milliseconds(
            lambda: key.sign(small_bytes, padding.PKCS1v15(), SHA256()),  # type: ignore[call-arg, union-attr, arg-type]
            200,
        ),
        "2 KB: mailbackends": milliseconds(lambda: sign(content), 200),
        "2 KB: dkimpy": milliseconds(lambda: by_dkimpy(small_bytes), 10),
        "5 MB: SHA-256 alone": milliseconds(lambda: hashlib.sha256(large_bytes).digest(), 3),
        "5 MB: made, unsigned": milliseconds(lambda: drained(from_message(large)), 3),
        "5 MB: made, signed by mailbackends": milliseconds(
            lambda: drained(sign(from_message(large))), 3
        ),
        "5 MB: dkimpy": milliseconds(lambda: by_dkimpy(large_bytes), 1, 3),
    }
    for name, value in rows.items():
        print(f"{name:40} {value:8.2f} ms")


if __name__ == "__main__":
    main()
