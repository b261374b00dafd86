"""The output of the demonstration: each message, the connections, the times.

Coloured and framed in a terminal, plain ASCII elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mailbackends.testing.server import ReceivedMail

__all__ = ["Report"]

_PLAIN_WIDTH = 100
_MOST_LINES = 12


class Report:
    """Writes to standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH, safe_box=True)
        self.box = box.ROUNDED if self.console.is_terminal else box.ASCII

    def heading(self, text: str) -> None:
        """Print a heading."""
        self.console.print()
        self.console.rule(
            Text(text, style="bold"),
            align="left",
            characters="─" if self.console.is_terminal else "-",
        )

    def note(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(Text(text))

    def mail(self, title: str, mail: ReceivedMail, receipt: str, seconds: float) -> None:
        """Print a message as it arrived, and the receipt that the application got."""
        message = mail.message
        fields = Table.grid(padding=(0, 2))
        fields.add_column(style="dim", no_wrap=True)
        fields.add_column(overflow="fold")
        for name in ("From", "To", "Cc", "Reply-To", "Subject"):
            if message[name]:
                fields.add_row(name, Text(str(message[name]), "bold" if name == "Subject" else ""))
        fields.add_row("Envelope", Text(f"<{mail.sender}> to {', '.join(mail.recipients)}"))
        fields.add_row("Parts", Text("\n".join(_parts(message))))
        fields.add_row("Text", Text(_text(message), style="italic"))
        fields.add_row("Arrived", f"{mail.tls_version or 'no TLS'}, logged in as {mail.user}")
        fields.add_row("Connection", Text(f"{mail.connection + 1}", style="bold"))
        fields.add_row("Receipt", Text(receipt, style="green"))
        fields.add_row("Request", f"{milliseconds(seconds)}")
        self._framed(title, fields)

    def mail_in_a_line(self, number: int, mail: ReceivedMail, seconds: float) -> None:
        """Print a further message on one line."""
        self.console.print(
            Text(
                f"  request {number:>2}  connection {mail.connection + 1}  "
                f"{size(len(mail.content)):>9}  {milliseconds(seconds):>9}  "
                f"{mail.message['Subject']}"
            )
        )

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        best: int,
        right: bool = True,
    ) -> None:
        """Print a table; the first ``best`` rows are highlighted. ``right`` aligns figures."""
        table = Table(box=self.box)
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index and right else "left")
        for index, row in enumerate(rows):
            table.add_row(*row, style="bold green" if index < best else "")
        self.console.print(table)

    def error(self, text: str) -> None:
        """Print an error."""
        failure = Text(f"The demonstration failed. {text}", style="bold red")
        self.console.print(failure, soft_wrap=True)

    def _framed(self, title: str, content: RenderableType) -> None:
        self.console.print(
            Panel(
                Group(content),
                title=Text(title, style="bold cyan"),
                title_align="left",
                box=self.box,
                padding=(0, 1),
            )
        )


def _parts(message: EmailMessage, depth: int = 0) -> list[str]:
    lines = [f"{'  ' * depth}{_part_line(message)}"]
    if message.is_multipart():
        for part in message.iter_parts():
            assert isinstance(part, EmailMessage)
            lines += _parts(part, depth + 1)
    return lines


def _part_line(part: EmailMessage) -> str:
    name = part.get_filename()
    words = [part.get_content_type()]
    if name:
        words.append(str(name))
    if part.get_content_disposition():
        words.append(f"({part.get_content_disposition()})")
    payload = part.as_bytes() if part.is_multipart() else part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    words.append(size(len(payload)))
    return "  ".join(words)


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    if body is None:
        return "(none)"
    lines = [line.rstrip() for line in str(body.get_content()).strip().splitlines()]
    shown = lines[:_MOST_LINES]
    return "\n".join(shown + (["..."] if len(lines) > len(shown) else []))


def size(count: int) -> str:
    """A number of bytes as text."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def milliseconds(seconds: float) -> str:
    """A time as text."""
    return f"{seconds * 1000:.1f} ms"
