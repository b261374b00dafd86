"""The README's settings, pasted into what ``startproject`` makes."""

from __future__ import annotations

import re
from pathlib import Path

import django

from support.new_project import new_project
from support.server import MailServer

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n# settings\.py, Django (\S+).*?\n(.*?)^```$", re.M | re.S)
_SEND = (
    "from django.core.mail import EmailMessage;"
    'm = EmailMessage("Your order", "It is on its way.", "shop@example.com", ["ada@example.com"]);'
    "print(m.send(), m.receipt.outcome)"
)


def block() -> str:
    """The block for the installed Django."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = dict(_BLOCK.findall(readme))
    return blocks["6.1" if django.VERSION >= (6, 1) else "5.2"]


def test_the_readmes_settings_send_mail_in_a_new_project(tmp_path: Path) -> None:
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        run = new_project(tmp_path, block(), server)
        assert "no issues" in run("manage.py", "check")
        assert "1 accepted" in run("manage.py", "shell", "-c", _SEND)
    assert server.message.rcpt_tos == ("ada@example.com",)
    assert server.message.user == "shop"
