"""A mailbox for tests: requests without HTTP, and mails as shops and attackers write them."""

from __future__ import annotations

import json
import struct
import zlib
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import urlencode

from mailbackends.mailbox import Mailbox, Request, Response
from mailbackends.mailbox.store import Arrival

PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
SAMPLE_HTML = """<html><body style="margin:0;background:#eef1ee">
<style>.button { background: #0f766e; color: #fff; padding: 12px 22px; border-radius: 8px;
text-decoration: none; display: inline-block; font-weight: 600 }</style>
<table width="100%" cellpadding="20"><tr><td align="center">
<table cellpadding="24" style="background:#fff;border-radius:14px;max-width:520px"><tr><td>
<img src="cid:logo@shop" alt="Leaf &amp; Cup" width="44" height="44">
<h1 style="font-size:24px;margin:12px 0 8px;color:#17201e">Thank you, Ada!</h1>
<p style="color:#44524f">Your order 1042 is on its way and should be with you on Thursday.</p>
<table width="100%" cellpadding="10" style="background:#f3f6f4;border-radius:10px">
<tr><td>Darjeeling First Flush, 100 g</td><td align="right">14.90</td></tr>
<tr><td>Teapot, cast iron</td><td align="right">39.00</td></tr>
<tr><td><b>Together</b></td><td align="right"><b>53.90</b></td></tr></table>
<p><a class="button" href="https://leafandcup.example/orders/1042">Follow the parcel</a></p>
<p style="color:#7a8783;font-size:13px">Questions? Write to
<a href="mailto:service@leafandcup.example">service@leafandcup.example</a>.</p>
<img src="https://tracker.example/open.gif?u=1042" width="1" height="1" alt="">
</td></tr></table></td></tr></table></body></html>"""


def png(width: int = 44, height: int = 44, colour: tuple[int, int, int] = (15, 118, 110)) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * width) * height
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def mail(
    to: str = "Ada Lovelace <ada@example.com>",
    subject: str = "Your order 1042 is on its way",
    text: str = "Thank you, Ada!\nYour order 1042 is on its way.\n",
    html: str | None = SAMPLE_HTML,
    attachments: dict[str, bytes] | None = None,
    sender: str = "Leaf & Cup <shop@leafandcup.example>",
) -> EmailMessage:
    """A complete message."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = "Mon, 02 Mar 2026 09:30:00 +0100"
    message["Message-ID"] = "<order-1042@leafandcup.example>"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
        related = message.get_payload()[1]  # type: ignore[index]
        assert isinstance(related, EmailMessage)
        related.add_related(png(), "image", "png", cid="<logo@shop>")
    for name, content in (attachments or {}).items():
        kind = ("application", "pdf") if name.endswith(".pdf") else ("application", "octet-stream")
        message.add_attachment(content, *kind, filename=name)
    return message


def put(box: Mailbox, message: EmailMessage | bytes, **arrival: Any) -> int:
    """Store it as if it had arrived, and return its number."""
    content = message if isinstance(message, bytes) else message.as_bytes()
    values = {"sender": "shop@leafandcup.example", "accepted": ("ada@example.com",), **arrival}
    return box.store.add(content, Arrival(**values))


def ask(
    box: Mailbox,
    path: str = "",
    *,
    method: str = "GET",
    form: dict[str, Any] | None = None,
    data: Any = None,
    headers: dict[str, str] | None = None,
    base: str = "/",
    own: bool = True,
) -> Response:
    """The answer to one request: ``own`` means from the page, not from another website."""
    path, _, query = path.partition("?")
    given = {"host": "localhost:8025", **(headers or {})}
    body = b""
    if form is not None:
        given["content-type"] = "application/x-www-form-urlencoded"
        body = urlencode({"token": box.store.token, **form} if own else form).encode()
    elif data is not None:
        body = json.dumps(data).encode()
    if own and form is None and method != "GET":
        given["x-mailbox-request"] = "1"
    return box.handle(
        Request(method=method, path=path, base=base, query_string=query, headers=given, body=body)
    )


def text_of(response: Response) -> str:
    """The body."""
    return response.body.decode()


def json_of(response: Response) -> Any:
    """The body, from JSON."""
    return json.loads(response.body)
