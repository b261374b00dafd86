"""Every code block of the documentation is run: here, or by a test of its page that is named here.

The numbers below are those of the blocks in each page. A new block changes one of them: then add
it to a test.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project.source import ROOT

from support.new_project import new_project
from support.server import MailServer

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

# The page, its number of Python blocks, and the files with the tests that run them.
PYTHON: dict[str, tuple[int, str]] = {
    "README.md": (5, "project/test_readme.py"),
    "docs/ARCHITECTURE.md": (1, "project/test_readme.py"),
    "docs/async.md": (5, "mailbackends/test_docs.py flask_integration/test_async_docs.py"),
    "docs/coming-from/aiosmtplib.md": (2, "project/test_site.py"),
    "docs/coming-from/celery-email.md": (1, "project/test_code_blocks.py"),
    "docs/coming-from/django-mailer.md": (1, "project/test_code_blocks.py"),
    "docs/coming-from/post-office.md": (1, "project/test_code_blocks.py"),
    "docs/deliverability.md": (
        8,
        "project/test_code_blocks.py django_integration/suppression/test_ten_minutes.py",
    ),
    "docs/django.md": (
        19,
        "django_integration/test_docs.py django_integration/test_tasks.py "
        "django_integration/test_tasks_by_hand.py",
    ),
    "docs/dkim.md": (1, "mailbackends/test_docs.py"),
    "docs/email.md": (7, "project/test_email_page.py"),
    "docs/engines.md": (
        6,
        "django_integration/outbox/test_engines.py project/test_code_blocks.py",
    ),
    "docs/failover.md": (1, "mailbackends/test_docs.py"),
    "docs/flask.md": (11, "flask_integration/test_docs.py"),
    "docs/mailbox.md": (
        5,
        "mailbackends/mailbox/test_page_in_docs.py project/test_code_blocks.py",
    ),
    "docs/mailer.md": (4, "mailbackends/test_docs.py"),
    "docs/oauth.md": (4, "mailbackends/test_docs.py project/test_code_blocks.py"),
    "docs/observability.md": (2, "mailbackends/test_docs.py"),
    "docs/outbox.md": (
        11,
        "django_integration/outbox/test_docs.py django_integration/outbox/test_rendering.py "
        "outbox/test_docs.py flask_integration/test_outbox_page.py",
    ),
    "docs/packages.md": (1, "project/test_packages.py"),
    "docs/parameters.md": (2, "mailbackends/protocol/test_parameters_page.py"),
    "docs/providers.md": (1, "mailbackends/test_docs.py"),
    "docs/rate-limit.md": (3, "mailbackends/test_docs.py"),
    "docs/security.md": (1, "project/test_code_blocks.py"),
    "docs/smtplib.md": (1, "project/test_code_blocks.py"),
    "docs/suppression.md": (
        6,
        "django_integration/suppression/test_operation.py outbox/test_flask_suppression.py",
    ),
    "docs/upkeep.md": (5, "django_integration/test_upkeep.py flask_integration/test_upkeep.py"),
    "docs/testing.md": (5, "mailbackends/testing/test_page.py"),
}


def blocks(page: str, language: str = "python", contains: str = "") -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    found = [textwrap.dedent(code) for _, kind, code in _BLOCK.findall(text) if kind == language]
    return [code for code in found if contains in code]


def block(page: str, contains: str) -> str:
    [found] = blocks(page, contains=contains)
    return found


def execute(code: str, **names: Any) -> dict[str, Any]:
    names.setdefault("__name__", "sample")
    exec(compile(code, "sample", "exec"), names)  # noqa: S102
    return names


def test_each_block_in_python_is_run_by_a_test() -> None:
    counted = {
        page.relative_to(ROOT).as_posix(): len(found)
        for page in PAGES
        if (found := blocks(page.relative_to(ROOT).as_posix()))
    }
    assert counted == {page: number for page, (number, _) in PYTHON.items()}
    for page, (_, tests) in PYTHON.items():
        for name in tests.split():
            source = (ROOT / "tests" / name).read_text("utf-8")
            stem = Path(page).stem
            assert stem in source, f"{name} does not name {page}"
            assert any(
                isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
                for node in ast.parse(source).body
            )


# Commands in a shell: parsed by the real parsers, and run by the tests of docs/cli.md.


def commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        for line in "".join(blocks(name, "sh")).replace("\\\n", " ").splitlines():
            for part in re.split(r" && ", line.partition("  #")[0].partition(" #")[0]):
                yield name, shlex.split(part)
        # Some of its commands are mistyped on purpose.
        sessions = blocks(name, "console") if name != "docs/cli.md" else []
        for line in "".join(sessions).splitlines():
            if line.startswith("$ "):
                yield name, shlex.split(line[2:].partition(" | ")[0].partition(" > ")[0])


COMMANDS = list(commands())


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[" ".join(words)[:60] for _, words in COMMANDS]
)
def test_each_command_exists_and_has_these_options(page: str, words: list[str]) -> None:
    while re.match(r"MAILBACKENDS_\w+=", words[0]):
        words = words[1:]
    match words:
        case ["python", "-m", "pip", "install", *rest]:
            _check_requirements(rest)
        case ["python", "-m", "tox", *rest]:
            tox = (ROOT / "tox.ini").read_text("utf-8")
            # A section such as [testenv:bench{,-django52}] has both.
            sections = re.findall(r"^\[testenv:(\w+)(?:\{,(.*)\})?\]$", tox, re.MULTILINE)
            known = {first + end for first, more in sections for end in {"", more}}
            for name in rest[rest.index("-e") + 1].split(",") if "-e" in rest else ():
                assert name in known or re.fullmatch(r"py3\d\d-\w+", name), name
        case ["python", script, *rest] if script.startswith("benchmarks/"):
            known = set(re.findall(r'"(--[\w-]+)"', (ROOT / script).read_text("utf-8")))
            assert {each for each in rest if each.startswith("--")} <= known
        case ["python", "-m", "pytest", *rest]:
            assert all((ROOT / each).exists() for each in rest if each.startswith("tests"))
        case ["python", "-m", "mailbackends.mailbox", *rest]:
            _parse("mailbackends", ["mailbox", *rest])
        case ["python", "manage.py", *rest]:
            _check_management_command(rest)
        case ["flask", "mail", *rest]:
            _parse("flask", rest)
        case ["mailbackends", *rest]:
            _parse("mailbackends", rest)
        case ["curl", *rest]:
            assert any(each.startswith("http://localhost:8025/api/") for each in rest)
            [given] = [json.loads(each) for each in rest if each.startswith("{")]
            from mailbackends.mailbox import Fault

            assert Fault.from_dict(given)
        case ["export" | "cat" | "echo", *_]:
            pass
        case _:
            pytest.fail(f"{page}: nothing checks {' '.join(words)!r}")


def _check_requirements(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for word in words:
        if found := re.match(r"(?:mailbackends|\.)\[([\w,-]+)\]", word):
            known = project["project"]["optional-dependencies"]
            assert set(found[1].split(",")) <= known.keys(), word
    if "--group" in words:
        assert words[words.index("--group") + 1] in project["dependency-groups"]


def _check_management_command(words: list[str]) -> None:
    pytest.importorskip("django")
    _run(
        "import django, sys\n"
        "from django.conf import settings\n"
        "ours = ['django_integration', 'django_integration.outbox']\n"
        "ours.append('django_integration.suppression')\n"
        "settings.configure(INSTALLED_APPS=['django.contrib.contenttypes', *ours])\n"
        "django.setup()\n"
        "from django.core.management import get_commands, load_command_class\n"
        f"name, *rest = {words!r}\n"
        "command = load_command_class(get_commands()[name], name)\n"
        "command.create_parser('manage.py', name).parse_args(rest)\n"
    )


def _parse(program: str, words: list[str]) -> None:
    """Let click parse the words, as far as possible without files and servers."""
    click = pytest.importorskip("click")
    if program == "flask":
        from flask_integration.cli import mail as command
    else:
        pytest.importorskip("rich")
        from mailbackends.cli.commands import mailbackends as command
    context = None
    while True:
        context = click.Context(command, parent=context, info_name=command.name)
        if not isinstance(command, click.Group) or not words:
            break
        _, command, words = command.resolve_command(context, words)
    parser = command.make_parser(context)
    _, arguments, _ = parser.parse_args(args=list(words))
    most = sum(
        99 if each.nargs < 0 else each.nargs
        for each in command.params
        if isinstance(each, click.Argument)
    )
    assert len(arguments) <= most, arguments


def test_the_languages_are_those_that_the_tests_here_know() -> None:
    languages = Counter(kind for page in PAGES for _, kind, _ in _BLOCK.findall(page.read_text()))
    # What is called powershell is typed in another company's service; text is not run.
    assert set(languages) == {"python", "sh", "console", "text", "powershell"}


# The blocks of pages that have no file of tests by themselves


@pytest.mark.parametrize("name", ["celery-email", "django-mailer", "post-office"])
def test_the_apps_are_added_to_a_new_project(name: str, tmp_path: Path) -> None:
    pytest.importorskip("django")
    [code] = blocks(f"docs/coming-from/{name}.md")
    with MailServer() as server:
        run = new_project(tmp_path, code, server)
        assert "no issues" in run("manage.py", "check")
        run("manage.py", "migrate", "mailbackends_outbox")
        assert "The outbox is empty" in run("manage.py", "outbox", "status")


PAGE = "docs/deliverability.md"


def test_one_click_unsubscribes_in_a_new_project_of_django(tmp_path: Path) -> None:
    pytest.importorskip("django")
    newsletter = "class Reader: pass\n" + block(PAGE, "Reader.objects.filter(email=")
    newsletter += block(PAGE, "def newsletter(address)")
    tmp_path.joinpath("newsletter.py").write_text(newsletter)
    tmp_path.joinpath("leaving.py").write_text(block(PAGE, "urlpatterns ="))
    settings = block(PAGE, "MAILBACKENDS_UNSUBSCRIBE_URL") + "ROOT_URLCONF = 'leaving'\n"
    code = (
        "import newsletter\n"
        "from django.dispatch import Signal\n"
        "from django.test import Client\n"
        "from django_integration.unsubscribe import unsubscribed\n"
        "unsubscribed.disconnect(newsletter.leave)\n"
        "left = []\n"
        "def leave(address, stream, **kwargs): left.append((address, stream))\n"
        "unsubscribed.connect(leave)\n"
        "from django.core import mail\n"
        "from django_integration.messages import as_submission\n"
        "from django_integration.unsubscribe import unsubscribe_url\n"
        "url = unsubscribe_url('ada@example.net', 'newsletter')\n"
        "assert url.startswith('https://www.example.com/unsubscribe/'), url\n"
        "answer = Client(headers={'host': 'localhost'}).post(url.partition('example.com')[2])\n"
        "print(answer.status_code, left, newsletter.newsletter('ada@example.net').unsubscribe)\n"
    )
    with MailServer() as server:
        run = new_project(tmp_path, settings, server)
        run("manage.py", "migrate")
        printed = run("manage.py", "shell", "-c", code)
    assert "200 [('ada@example.net', 'newsletter')] newsletter" in printed


def test_one_click_unsubscribes_in_an_application_of_flask() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    left: list[Any] = []

    class Query:
        def filter_by(self, email: str) -> Any:
            left.append(email)
            return self

        def update(self, values: dict[str, bool]) -> None:
            left.append(values)

    class Reader:
        query = Query()

    code = block(PAGE, "MAIL_UNSUBSCRIBE_URL").replace(
        "\n\nmail.send", "\nmail = Mail(app)\nmail.send"
    )
    with MailServer() as server:
        app.config.update(
            MAIL_SERVER=server.host,
            MAIL_PORT=server.port,
            MAIL_DEFAULT_SENDER="shop@example.com",
            SECRET_KEY="x",
        )
        names = execute(code, app=app, Reader=Reader)  # receivers are held by weak references
        app.extensions["mail"].close()
    field = str(server.message.message["List-Unsubscribe"])
    url = field.strip("<>").partition("www.example.com")[2]
    assert app.test_client().post(url).status_code == 200
    assert names["leave"]
    assert left == ["ada@example.net", {"wants_newsletter": False}]


def test_a_report_of_failed_delivery_is_handled(capsys: pytest.CaptureFixture[str]) -> None:
    names = execute(block(PAGE, "BounceTokens("))
    assert names["sender"].startswith("bounces+")
    report = (
        f"To: {names['sender']}\r\nContent-Type: multipart/report; "
        'report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\n\r\nFailed\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        "Final-Recipient: rfc822; ada@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        "--b--\r\n"
    )
    names["handle"](report.encode())
    assert capsys.readouterr().out.startswith("order_42 ('ada@example.net',)")


def test_the_receiver_of_reports_in_django_updates_the_order() -> None:
    pytest.importorskip("django")
    updated: list[Any] = []

    class Orders:
        def filter(self, pk: str) -> Any:
            updated.append(pk)
            return self

        def update(self, email_fails: bool) -> None:
            updated.append(email_fails)

    class Order:
        objects = Orders()

    from django_integration.bounces import bounced
    from mailbackends.bounces import BouncedRecipient, BounceReport

    names = execute(block(PAGE, "def forget("), Order=Order)
    recipient = BouncedRecipient("ada@example.net", "failed", "5.1.1")
    report = BounceReport("delivery_status", (recipient,), reference="order_42")
    try:
        bounced.send(sender=None, report=report)
    finally:
        bounced.disconnect(names["forget"])
    assert updated == ["42", True]


def test_the_setting_of_an_engine_names_the_function_in_the_samples() -> None:
    [setting] = blocks("docs/engines.md", contains="MAILBACKENDS")
    module, _, name = execute(setting)["MAILBACKENDS"]["outbox"]["engine"].partition(".")
    assert f"as `{module}.py`" in (ROOT / "docs" / "engines.md").read_text("utf-8")
    samples = blocks("docs/engines.md", contains="deliver")
    assert len(samples) == 5
    assert all(f"def {name}(" in code for code in samples)


def test_the_mailbox_is_shown_in_a_new_project_of_django(tmp_path: Path) -> None:
    pytest.importorskip("django")
    pytest.importorskip("nh3")
    urls = "from django.urls import include, path\n" + block("docs/mailbox.md", "urlpatterns =")
    tmp_path.joinpath("urls_of_page.py").write_text(urls)
    settings = block("docs/mailbox.md", "MAILBACKENDS_MAILBOX =")
    settings += "ROOT_URLCONF = 'urls_of_page'\n"
    tmp_path.joinpath("unused").mkdir()
    code = (
        "from django.core.mail import send_mail\n"
        "from django.test import Client\n"
        "print(send_mail('Your order', 'Sent.', 'shop@example.com', ['ada@example.com']))\n"
        "print('Your order' in Client(headers={'host': 'localhost'}).get('/mailbox/').text)\n"
    )
    with MailServer() as server:
        run = new_project(tmp_path, _for_this_django(settings), server)
        printed = run("manage.py", "shell", "-v", "0", "-c", code)
    assert printed.split()[-2:] == ["1", "True"]
    assert tmp_path.joinpath("mailbox.sqlite3").exists()


def _for_this_django(settings: str) -> str:
    """Django 6.1 has MAILERS in a new project, beside which EMAIL_BACKEND is an error."""
    import django

    if django.VERSION < (6, 1):
        return settings
    [backend] = re.findall(r'^EMAIL_BACKEND = ("[\w.]+").*$', settings, re.MULTILINE)
    entry = f'MAILERS = {{"default": {{"BACKEND": {backend}}}}}'
    return re.sub(r"^EMAIL_BACKEND = .*$", entry, settings, flags=re.MULTILINE)


def test_the_mailbox_is_shown_in_an_application_of_flask() -> None:
    flask = pytest.importorskip("flask")
    pytest.importorskip("nh3")
    app = flask.Flask("shop")
    app.debug = True
    names = execute(block("docs/mailbox.md", "from flask_integration.mailbox"), app=app)
    with app.app_context():
        from flask_integration import Message

        names["mail"].send(Message("Your order", ["ada@example.com"], "x", sender="a@example.com"))
    assert "Your order" in app.test_client().get("/mailbox/").text
    app.extensions["mailbackends_mailbox"].close()


def test_the_settings_for_microsoft_are_complete() -> None:
    django = pytest.importorskip("django")
    pytest.importorskip("msal")
    if django.VERSION < (6, 1):
        pytest.skip("MAILERS came with Django 6.1")
    code = (
        "import os, sys\n"
        "os.environ['MAILBACKENDS_CLIENT_SECRET'] = 'secret'\n"
        "from django.conf import settings\n"
        f"exec({block('docs/oauth.md', 'MAILERS = {')!r})\n"
        "settings.configure(MAILERS=MAILERS)\n"
        "import django; django.setup()\n"
        "from django.core.mail import mailers\n"
        "print(mailers['default'].options.tokens is not None)\n"
    )
    assert _run(code).strip() == "True"


def test_the_mailer_for_google_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.auth")
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    monkeypatch.chdir(tmp_path)
    account = {
        "type": "service_account",
        "client_email": "mailer@project.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    tmp_path.joinpath("service-account.json").write_text(json.dumps(account))
    from mailbackends import Mailer, oauth

    names = execute(block("docs/oauth.md", "oauth.google("), oauth=oauth, Mailer=Mailer)
    assert isinstance(names["mailer"], Mailer)
    names["mailer"].close()


def test_the_secret_in_options_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = blocks("docs/security.md")
    execute(code)
    assert capsys.readouterr().out == "***\n"


def test_the_sample_in_place_of_smtplib_sends_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    message.set_content("Hello")
    [code] = blocks("docs/smtplib.md")
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.cafile)
        code = code.replace("mail.example.com", server.host).replace("587", str(server.port))
        assert execute(code, message=message)["refused"] == {}
    assert server.message.user == "user"


def _run(code: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
