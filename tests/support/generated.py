"""Messages of every kind that people send, made from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from email.message import EmailMessage, Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

from mailbackends import FileAttachment, Submission
from mailbackends.integration import TextPart, written_message

__all__ = ["generated"]

_WORDS = (
    "order",
    "invoice",
    "café",
    "Grüße",
    "数字",
    "Привет",
    "naïve",
    "x" * 60,
    "a.b",
    "😀",
    "ok",
)
_SPACES = (" ", "  ", "\t", " \t ", "")
_DOMAINS = ("example.com", "EXAMPLE.com", "news.example.com", "xn--bcher-kva.example.com")


def generated(seed: int, count: int, folder: Path) -> Iterator[Submission]:
    """``count`` messages from ``example.com`` or a subdomain; the same ones for the same seed."""
    dice = random.Random(seed)
    for number in range(count):
        make = dice.choice(
            [_plain, _plain, _alternative, _attached, _raw, _raw, _legacy, _written, _with_file]
        )
        sender = f"shop{number}@{dice.choice(_DOMAINS)}"
        made = make(dice, sender, folder)
        yield Submission(made, sender, ["ada@example.net"])


def _text(dice: random.Random, lines: int = 12) -> str:
    made = []
    for _ in range(dice.randrange(lines)):
        words = (dice.choice(_WORDS) + dice.choice(_SPACES) for _ in range(dice.randrange(14)))
        made.append(dice.choice(("", "", ".", "..", " ", "From ", "\t")) + "".join(words))
    made += [""] * dice.choice((0, 0, 1, 5))
    return "\n".join(made)


def _header(dice: random.Random, message: Any, sender: str) -> None:
    name = dice.choice(("", "Shop", "Grüße, Ädä", '"a" <b>', "x" * 90))
    fields = {
        "From": f"{_quoted(name)} <{sender}>" if name else sender,
        "To": ", ".join(f"ada{n}@example.net" for n in range(dice.choice((1, 1, 2, 30)))),
        "Subject": " ".join(dice.choice(_WORDS) for _ in range(dice.randrange(30))),
        "Message-ID": f"<{dice.randrange(10**12)}@example.com>",
    }
    optional = {
        "Date": "Sat, 28 Nov 2026 06:00:00 +0000",
        "Reply-To": "help@example.com",
        "Cc": "bob@example.net",
        "List-Unsubscribe": "<https://example.com/u/" + "t" * dice.randrange(200) + ">",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "References": " ".join(f"<{n}@example.com>" for n in range(dice.randrange(1, 20))),
        "Resent-From": "shop@example.com",
        "Resent-To": "bob@example.net",
        "X-Long": "word " * dice.randrange(1, 200),
        "X-Spaces": "a  b \t c",
    }
    chosen = dice.sample(sorted(optional), dice.randrange(len(optional)))
    for field, value in (*fields.items(), *((each, optional[each]) for each in chosen)):
        message[field] = value


def _quoted(name: str) -> str:
    escaped = name.replace('"', '\\"')
    return f'"{escaped}"'


def _plain(dice: random.Random, sender: str, folder: Path) -> Message:
    made = EmailMessage()
    _header(dice, made, sender)
    made.set_content(_text(dice), cte=dice.choice((None, "8bit", "quoted-printable", "base64")))
    return made


def _alternative(dice: random.Random, sender: str, folder: Path) -> Message:
    made = _plain(dice, sender, folder)
    assert isinstance(made, EmailMessage)
    made.add_alternative(f"<p>{_text(dice)}</p>", subtype="html")
    return made


def _attached(dice: random.Random, sender: str, folder: Path) -> Message:
    made = _alternative(dice, sender, folder)
    assert isinstance(made, EmailMessage)
    size = dice.choice((0, 57, 1000, 70_000))
    made.add_attachment(
        dice.randbytes(size), maintype="application", subtype="pdf", filename="Rechnüng.pdf"
    )
    return made


def _with_file(dice: random.Random, sender: str, folder: Path) -> Message:
    made = _plain(dice, sender, folder)
    assert isinstance(made, EmailMessage)
    path = folder / f"{dice.randrange(10)}.bin"
    if not path.exists():
        path.write_bytes(dice.randbytes(dice.choice((0, 100, 80_000))))
    made.make_mixed()
    made.attach(FileAttachment(path))  # type: ignore[arg-type]
    return made


def _legacy(dice: random.Random, sender: str, folder: Path) -> Message:
    made = MIMEMultipart("mixed")
    made.preamble = dice.choice((None, "You need a newer reader.\n", "  \n\n"))
    _header(dice, made, sender)
    made.attach(MIMEText(_text(dice), "plain", "utf-8"))
    part = MIMEBase("text", "csv")
    part.set_payload("a;b \n1;2\n" * dice.randrange(5))
    made.attach(part)
    if dice.random() < 0.5:
        text = MIMEText(_text(dice), "plain", "utf-8")
        _header(dice, text, sender)
        return text
    made.set_payload([part])
    return made


def _raw(dice: random.Random, sender: str, folder: Path) -> bytes:
    end = dice.choice(("\r\n", "\n"))
    lines = [
        f"From:{dice.choice(_SPACES)}{sender}{dice.choice(_SPACES)}",
        f"sUBJECT:{dice.choice(_SPACES)}a{dice.choice(_SPACES)}{end} b{dice.choice(_SPACES)}",
        "To: ada@example.net",
        f"Subject-2:{end}\t{end} c" if dice.random() < 0.1 else "X-Empty:",
    ]
    body = _text(dice, 40).replace("\n", end)
    if dice.random() < 0.1:
        return end.join(lines).encode() + end.encode()
    return (end.join([*lines, "", body]) + dice.choice(("", end, end * 3))).encode()


def _written(dice: random.Random, sender: str, folder: Path) -> Any:
    text = _text(dice)
    built = EmailMessage()
    _header(dice, built, sender)
    fields = [
        ("Subject", "Order"), ("From", [sender]), ("To", ["ada@example.net"]),
        ("Message-ID", f"<{dice.randrange(10**9)}@example.com>"),
    ]  # fmt: skip

    def build() -> EmailMessage:
        made = EmailMessage()
        made.set_content(text)
        for name, value in fields:
            made[name] = value if isinstance(value, str) else ", ".join(value)
        return made

    return written_message(fields, TextPart(text), build) or build()
