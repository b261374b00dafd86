"""An invoice as PDF, written without a library."""

from __future__ import annotations

from .orders import Order

__all__ = ["invoice_pdf"]

_PAGE = (
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
    "/Resources << /Font << /F1 5 0 R >> >> >>"
)


def invoice_pdf(order: Order) -> bytes:
    """One page of A4."""
    lines = [
        f"Invoice {order.number}",
        "",
        f"{order.quantity} x {order.product.name}",
        f"at {order.product.price} EUR each",
        "",
        f"Total: {order.total} EUR",
        f"Sent to {order.email}",
    ]
    return _pdf(lines)


def _pdf(lines: list[str]) -> bytes:
    text = "".join(f"({_escaped(line)}) '\n" for line in lines)
    stream = f"BT /F1 14 Tf 72 780 Td 20 TL\n{text}ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        _PAGE.encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    document = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\n"
    return document + end % (size, table, size) + b"startxref\n%d\n%%%%EOF\n" % len(document)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
