"""Every interface on a Python that lacks what only Unix has, as far as it can be taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import MailServer

pytest.importorskip("django")
pytest.importorskip("flask")
ROOT = Path(__file__).parents[2]

# Windows has none of these. The server runs in another process, which keeps them.
WITHOUT_UNIX = """
import functools, os, select, signal, socket, sys

pair = functools.partial(socket.socketpair, socket.AF_UNIX)  # for asyncio; TCP on Windows
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for module, names in {
    os: ("fork", "forkpty", "register_at_fork", "getuid"),
    select: ("poll", "epoll"),
    signal: ("SIGALRM", "SIGHUP", "SIGQUIT", "alarm", "setitimer"),
    socket: ("AF_UNIX",),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

class Socket(socket.socket):
    def __getattribute__(self, name):
        if name in ("sendmsg", "recvmsg"):
            raise AttributeError(name)
        return super().__getattribute__(name)

socket.socket, socket.socketpair = Socket, pair
"""

EVERY_INTERFACE = """
import asyncio
from email.message import EmailMessage
from mailbackends import SMTP, AsyncMailer, Mailer

url = sys.argv[1]
host, port = url.removeprefix("smtp://").split(":")

def made(subject):
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    message["Subject"] = subject
    message.set_content("Hello")
    return message

with Mailer(url) as mailer:
    mailer.send_message(made("Mailer"))
    mailer.send_messages([made("batch"), made("batch")])
with SMTP(host, int(port)) as smtp:
    smtp.send_message(made("SMTP"))

async def send():
    async with AsyncMailer(url) as mailer:
        await mailer.send_message(made("AsyncMailer"))

asyncio.run(send())

import django
from django.conf import settings

settings.configure(SECRET_KEY="s", EMAIL_BACKEND="django_integration.EmailBackend",
                   EMAIL_HOST=host, EMAIL_PORT=int(port), INSTALLED_APPS=["django_integration"])
django.setup()
from django.core.mail import send_mail

send_mail("Django", "Hello", "shop@example.com", ["ada@example.com"])

from flask import Flask
from flask_integration import Mail, Message

app = Flask("app")
app.config["MAIL_URL"] = url
mail = Mail(app)
with app.app_context():
    mail.send(Message("Flask", ["ada@example.com"], "Hello", sender="shop@example.com"))

from mailbackends.__main__ import main

sys.argv = ["mailbackends", "send", "--server", url, "--from", "shop@example.com",
            "--to", "ada@example.com", "--subject", "command", "--text", "Hello"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_every_interface_sends_without_fork_poll_sendmsg_signals_and_unix_sockets() -> None:
    pytest.importorskip("click")
    with MailServer() as server:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "ignore", "-c", WITHOUT_UNIX + EVERY_INTERFACE, server.url],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert [received.message["Subject"] for received in server.messages] == [
            "Mailer",
            "batch",
            "batch",
            "SMTP",
            "AsyncMailer",
            "Django",
            "Flask",
            "command",
        ]
