"""The samples in README.md and docs/ARCHITECTURE.md run as they are."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from project.source import ROOT

from support.server import MailServer

README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What each sample needs around it to send its mail.
_DJANGO = """
import warnings
import django
import django.conf
# Django 6.1 deprecates EMAIL_*.
warnings.filterwarnings("ignore", message="The EMAIL_")
names = {name: value for name, value in list(globals().items()) if name.isupper()}
django.conf.settings.configure(**names)
django.setup()
from django.core.mail import send_mail
assert send_mail("Your order", "It is on its way.", "shop@example.com", ["ada@example.com"]) == 1
"""
_BEFORE_FLASK = """
from flask import Flask
app = Flask(__name__)
"""
_FLASK = """
assert app.test_client().post("/orders").json == {"accepted": ["ada@example.com"]}
"""


def samples() -> dict[str, str]:
    """The samples in Python, by the name of the file in their first line."""
    found = {}
    for language, code in _BLOCK.findall(README):
        if language == "python":
            head = re.match(r"# (\S+\.py.*)\n", code)
            assert head, f"this sample does not name its file:\n{code}"
            found[head[1]] = code
    return found


def run(code: str, folder: Path, server: MailServer) -> str:
    code = code.replace("smtp.example.com", server.host).replace("587", str(server.port))
    path = folder / "sample.py"
    path.write_text(code, encoding="utf-8")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", str(path)],
        env={**os.environ, "SSL_CERT_FILE": server.cafile},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def server() -> MailServer:
    return MailServer(tls="starttls", login=("shop", "secret"), require_login=True)


@pytest.mark.parametrize("name", samples())
def test_each_sample_sends_its_mail(name: str, tmp_path: Path, server: MailServer) -> None:
    code = samples()[name]
    if name.startswith("settings.py"):
        django = pytest.importorskip("django")
        if "MAILERS" in code and django.VERSION < (6, 1):
            pytest.skip("MAILERS came with Django 6.1")
        code += _DJANGO
    elif name == "app.py":
        code = f"{_BEFORE_FLASK}{code}{_FLASK}"
    with server:
        printed = run(code, tmp_path, server)
    received = server.message
    assert received.rcpt_tos == ("ada@example.com",)
    assert received.message["Subject"] == "Your order"
    assert received.user == "shop"
    assert received.is_tls
    if name == "script.py":
        assert printed.startswith("('ada@example.com',) {} 250 ")


def test_the_first_screen_shows_both_frameworks_and_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:80])
    assert "MAILERS" in first_screen
    assert "flask_integration" in first_screen
    commands = [code.strip() for language, code in _BLOCK.findall(README) if language == "sh"]
    assert commands == [
        "python -m pip install -q tox && python -m tox -q -e demo",
        "python -m pip install -q tox && python -m tox -q -e tests",
    ]
    assert all(command in first_screen for command in commands)


def test_the_two_commands_use_existing_environments_and_files() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert {"demo", "tests"} <= set(tox["tox"]["env_list"].split())
    for section in tox.sections():
        for command in tox[section].get("commands", "").splitlines():
            for word in shlex.split(re.sub(r"\{posargs:?|\}", " ", command)):
                if "/" in word and not word.startswith("-"):
                    assert (ROOT / word).exists(), f"{section}: {word}"


def test_the_links_and_figures_are_absolute_on_a_package_index() -> None:
    command = [sys.executable, "-m", "hatchling", "metadata", "readme"]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    shown = done.stdout
    targets = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", README)) > 30
    assert all(target.startswith("https://") for target in targets)
    figures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", shown)
    assert [re.sub(r"/[A-Za-z0-9-]+/", "/OWNER/", url, count=1) for url in figures] == [
        "https://raw.githubusercontent.com/OWNER/mailbackends/main/docs/performance/wait.png"
    ]


def test_no_link_is_broken() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_each_page_is_in_the_contents_of_the_documentation() -> None:
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    for page in (ROOT / "docs").glob("**/*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or name in contents, name


def test_the_architecture_page_is_true(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for language, code in _BLOCK.findall(page):
        assert language == "python"
        exec(compile(code, "ARCHITECTURE.md", "exec"), {})  # noqa: S102
    for word in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", page):
        places = [ROOT, ROOT / "mailbackends"]
        assert any((place / word).exists() for place in places), word
