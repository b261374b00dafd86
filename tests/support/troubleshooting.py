"""Writes docs/troubleshooting.md from the table of mistakes.

Run ``PYTHONPATH=tests python -m support.troubleshooting``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailbackends.known_errors import KNOWN
from mailbackends.wording import MAILER
from support.mistakes import mistakes

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"

_HEAD = """\
# Troubleshooting

Search this page for the text of your error. Each message below was produced by making the
mistake: `tests/support/mistakes.toml` lists them, and the tests of each interface compare the text
word by word. The page is written from it by `PYTHONPATH=tests python -m support.troubleshooting`.

Where the text does not help, let the doctor examine the server step by step: `manage.py
mail_doctor` in Django, `flask mail doctor` in Flask, and `mailbackends doctor URL` anywhere.

In Python, `error.hint` is what to do about an `SMTPException`, in the words of the interface in
use. With the interface of `smtplib`, it is shown below the traceback.
"""

_PORTS = {"says": "993", "tls": "465", "starttls": "587", "clear": "25", "none": "2525"}
_WAYS = {"says_email": "Django, `EMAIL_*`", "says_mailers": "Django, `MAILERS`", "says": "Django"}


def page() -> str:
    """The page for the table as it is."""
    parts = [_HEAD]
    for each in mistakes():
        parts.append(f"## {each['title']}\n")
        parts.append(f"{each['why']}\n")
        parts.append("\n".join(_entries(each)) + "\n")
    parts.append("## What providers answer\n")
    parts.append("Part of the reply or the token endpoint's text, and what to do about it.\n")
    rows = ["| text | fix |", "| --- | --- |"]
    rows += [f"| {known.text} | {MAILER.render(known.fix)} |" for known in KNOWN]
    parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _entries(mistake: dict[str, Any]) -> Iterator[str]:
    port = _PORTS[mistake.get("server", "none").partition(" ")[0]]
    for interface in ("django", "flask", "cli"):
        for given in mistake.get(interface, ()):
            for name in ("says", "says_email", "says_mailers"):
                text = given.get(name)
                if text is None or text == "sent":
                    continue
                lines = [f"``{line.strip()}``" for line in _shown(text, port).splitlines()]
                yield f"- {_done(interface, given, name)}: {'; '.join(lines)}"


def _done(interface: str, given: dict[str, Any], name: str) -> str:
    do = given.get("do", "send")
    if interface == "cli":
        command = given["args"].split(" ")
        return f"`mailbackends {command[0]}`, exit status {given['status']}"
    if interface == "flask":
        return "Flask, `flask mail doctor`" if do == "doctor" else "Flask"
    return _WAYS[name] + ("" if do == "send" else f", `manage.py {do}`")


def _shown(text: str, port: str) -> str:
    text = text.replace("127.0.0.1:{port}", f"mail.example.com:{port}").replace("{port}", port)
    return text.replace("127.0.0.1", "mail.example.com")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
