"""No secret shows: for each entry point, a mistake or a refusal, and all that reports it.

Reported are the text and the ``repr()`` of the error, its traceback with the variables of each
frame, Django's error page, the event that Sentry's SDK sends with its default scrubber, and
the log. Frames of the tests are left out: their variables are the application's.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("sentry_sdk")
pytest.importorskip("django")
pytest.importorskip("flask")

import django
import sentry_sdk
from django.conf import settings
from django.core.mail import EmailMessage as DjangoMessage
from django.core.mail import get_connection, send_mail
from django.core.management import call_command
from django.test.utils import override_settings
from django.views.debug import ExceptionReporter
from flask import Flask

if not settings.configured:
    settings.configure(
        SECRET_KEY="for the tests",
        INSTALLED_APPS=["django_integration"],
        ALLOWED_HOSTS=["*"],
        DEFAULT_FROM_EMAIL="shop@example.com",
        USE_TZ=True,
    )
    django.setup()

from django_integration import EmailBackend
from flask_integration import Mail, Message
from mailbackends import LMTP, SMTP, AsyncMailer, Mailer, Options, SMTPException, diagnose
from mailbackends.oauth import refresh_token
from mailbackends.protocol.sasl import Credentials
from support.sink import Sink
from support.talk import Talk, TalkServer

TESTS = Path(__file__).parents[1]
USER = "shop@example.com"
SECRET = "S3C#hunter2/Zq?8"
QUOTED = quote(SECRET, safe="")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


@functools.cache
def forms() -> tuple[str, ...]:
    """The secret as it may appear; a part of it too, since a URL may have been cut within it."""
    raw = SECRET.encode()
    plain = b"\0" + USER.encode() + b"\0" + raw
    coded = [base64.b64encode(data).decode() for data in (raw, plain)]
    return (SECRET, QUOTED, "hunter2", *coded)


def assert_hidden(text: str, where: str) -> None:
    for form in forms():
        at = text.find(form)
        assert at < 0, f"{form!r} is in {where}: ...{text[max(0, at - 600) : at + 80]}..."


# --- what reports an error --------------------------------------------------------------


def is_of_the_tests(frame: types.FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith(str(TESTS)) or "/_pytest/" in path or "/pluggy/" in path


def without_tests(frames: types.TracebackType | None) -> types.TracebackType | None:
    if frames is None:
        return None
    following = without_tests(frames.tb_next)
    if is_of_the_tests(frames.tb_frame):
        return following
    return types.TracebackType(following, frames.tb_frame, frames.tb_lasti, frames.tb_lineno)


class Recorder(sentry_sdk.Transport):
    """A transport that keeps the envelopes."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.sent.append(envelope.serialize().decode("utf-8", "replace"))


def event_of(error: BaseException) -> str:
    recorder = Recorder()
    client = sentry_sdk.Client(
        dsn="http://public@127.0.0.1:1/1",
        transport=recorder,
        default_integrations=False,
        include_local_variables=True,
        max_value_length=100_000,
    )
    try:
        with sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            scope.capture_exception(error)
    finally:
        client.close(timeout=0)
    assert len(recorder.sent) == 1
    assert '"stacktrace"' in recorder.sent[0] or error.__traceback__ is None
    return recorder.sent[0]


def page_of(error: BaseException) -> str:
    with override_settings(DEBUG=True):
        reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
        return reporter.get_traceback_html() + reporter.get_traceback_text()


def check(error: BaseException) -> None:
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = without_tests(seen.__traceback__)
        variables = traceback.TracebackException.from_exception(seen, capture_locals=True)
        assert_hidden("".join(variables.format()), f"the traceback of {seen!r}")
        assert_hidden(f"{seen} {seen!r} {seen.args} {vars(seen)}", "the error")
        # Also what an error was raised in the place of: some reporters look at that.
        seen = seen.__cause__ or seen.__context__
    assert_hidden(page_of(error), "Django's page")
    assert_hidden(event_of(error), "Sentry's event")
    if isinstance(error, SMTPException):
        assert_hidden(json.dumps(error.as_dict()), "as_dict()")
    with suppress(TypeError, AttributeError, pickle.PicklingError):
        assert_hidden(pickle.dumps(error).decode("latin-1"), "the pickle")


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """All that is logged, at every level, with the tracebacks."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert_hidden(stream.getvalue(), "the log")


# --- mistakes in options ----------------------------------------------------------------

MISTAKES: dict[str, dict[str, Any]] = {
    "a contradiction": {"username": USER, "password": SECRET, "ssl_keyfile": "key.pem"},
    "in clear to another host": {"host": "mail.example.com", "username": USER, "password": SECRET},
    "a timeout that is text": {"username": USER, "password": SECRET, "timeout": "abc"},
    "an unknown option": {"username": USER, "password": SECRET, "pool_sise": 3},
    "a misspelled password": {"username": USER, "passwrod": SECRET},
    "a password of bytes": {"username": USER, "password": SECRET.encode()},
    "a password in a list": {"username": USER, "password": [SECRET]},
    "a password without a user": {"password": SECRET},
    "a URL as the host": {"host": f"smtp://{USER}:{QUOTED}@mail.example.com"},
    "a user and a password in the host": {"host": f"{USER}:{SECRET}@mail.example.com"},
    "a store with a password": {"rate": "1/second", "rate_storage": f"floppy://:{QUOTED}@host"},
    "a store without a rate": {"rate_storage": f"redis://:{QUOTED}@host"},
    "a client secret without oauth": {"username": USER, "client_secret": SECRET},
    "two ways to log in": {"username": USER, "password": SECRET, "oauth": "google"},
    "a token without a user": {"token_provider": functools.partial(str, SECRET)},
    "a token that is text": {"username": USER, "token_provider": SECRET},
}

URLS = {
    "a bare # in the password": f"smtp+starttls://{USER}:{SECRET}@smtp.example.com:587",
    "a bare / in the password": f"smtps://{USER}:hunter2/x@smtp.example.com",
    "a bare ? in the password": f"smtps://{USER}:12?hunter2@smtp.example.com",
    "a wrong port": f"smtp://{USER}:{QUOTED}@smtp.example.com:port",
    "a scheme that is unknown": f"smtp+tls://{USER}:{QUOTED}@smtp.example.com",
    "no scheme": f"{USER}:{SECRET}@smtp.example.com",
    "no host": f"smtp://{USER}:{QUOTED}@",
    "the host forgotten": "smtp://shop:hunter2",
    "a path": f"smtp://{USER}:{QUOTED}@smtp.example.com/inbox",
    "white space": f"smtp://{USER}:{SECRET} @smtp.example.com",
    "an unknown option": f"smtps://{USER}:{QUOTED}@smtp.example.com?pool_sise=3",
    "a wrong value": f"smtps://{USER}:{QUOTED}@smtp.example.com?timeout=abc",
    "an option twice": f"smtps://{USER}:{QUOTED}@smtp.example.com?username=me",
    "a password in the query": f"smtp://smtp.example.com?username=me&password={QUOTED}",
    "a bare & in the query": "smtp://smtp.example.com?username=me&password=x&hunter2",
    "latin-1": f"smtp://{USER}:hunter2%E4@smtp.example.com",
    "in clear": f"smtp://{USER}:{QUOTED}@smtp.example.com",
}


def from_mapping(options: dict[str, Any]) -> Any:
    return Options.from_mapping(options)


def replaced(options: dict[str, Any]) -> Any:
    return Options().replace(**options)


def of_django(options: dict[str, Any]) -> Any:
    return EmailBackend(**options).options


def by_get_connection(options: dict[str, Any]) -> Any:
    with override_settings(EMAIL_BACKEND="django_integration.EmailBackend", MAILBACKENDS=options):
        backend: Any = get_connection()
        return backend.options


def by_alias(options: dict[str, Any]) -> Any:
    if django.VERSION < (6, 1):
        pytest.skip("there are no MAILERS before Django 6.1")
    backend = {"BACKEND": "django_integration.EmailBackend", "OPTIONS": options}
    with override_settings(MAILERS={"default": backend}):
        return send_mail("s", "b", "shop@example.com", ["a@example.com"])


def by_check(options: dict[str, Any]) -> Any:
    with override_settings(EMAIL_BACKEND="django_integration.EmailBackend", MAILBACKENDS=options):
        out = io.StringIO()
        call_command("mail_doctor", stdout=out, stderr=out)


def of_flask(options: dict[str, Any]) -> Any:
    app = Flask("shop")
    names = {"host": "SERVER", "url": "URL"}
    app.config.update({f"MAIL_{names.get(k, k.upper())}": v for k, v in options.items()})
    mail = Mail(app)
    with app.app_context():
        mail.send(Message("s", ["a@example.com"], body="b", sender="shop@example.com"))


ENTRIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Mailer()": lambda options: Mailer(**options),
    "AsyncMailer()": lambda options: AsyncMailer(**options),
    "Options()": lambda options: Options(**options),
    "Options.from_mapping()": from_mapping,
    "Options.replace()": replaced,
    "Django's constructor": of_django,
    "Django's settings": by_get_connection,
    "Django's MAILERS": by_alias,
    "Django's doctor": by_check,
    "Flask's init_app()": of_flask,
}

URL_ENTRIES: dict[str, Callable[[str], Any]] = {
    "Mailer()": Mailer,
    "Mailer() with a list": lambda url: Mailer(["smtp://one.example.com", url]),
    "AsyncMailer()": AsyncMailer,
    "Options.from_url()": Options.from_url,
    "Options.parse_url()": lambda url: Options.parse_url(url) and Options.from_url(url),
    "Django's constructor": lambda url: of_django({"url": url}),
    "Django's settings": lambda url: by_get_connection({"url": url}),
    "Django's MAILERS": lambda url: by_alias({"url": url}),
    "Django's doctor": lambda url: by_check({"url": url}),
    "Flask's init_app()": lambda url: of_flask({"url": url}),
}


def failure_of(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except (Exception, SystemExit) as error:
        return error
    return None


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_options_shows_no_secret(entry: str, mistake: str) -> None:
    options = dict(MISTAKES[mistake])
    if entry.startswith("Django's") and "host" not in options:
        options["host"] = "smtp.example.com"
    error = failure_of(functools.partial(ENTRIES[entry], options))
    # Frameworks accept some of these: without a user name, say, there is no login.
    if entry in ("Mailer()", "AsyncMailer()"):
        assert error is not None
    if error is not None:
        check(error)


@pytest.mark.parametrize("entry", URL_ENTRIES)
@pytest.mark.parametrize("mistake", URLS)
def test_a_mistake_in_a_url_shows_no_secret(entry: str, mistake: str) -> None:
    error = failure_of(functools.partial(URL_ENTRIES[entry], URLS[mistake]))
    assert error is not None
    check(error)


@pytest.mark.parametrize("mistake", URLS)
@pytest.mark.parametrize("command", ["doctor", "send"])
def test_a_mistake_in_a_url_of_the_command_line_shows_no_secret(command: str, mistake: str) -> None:
    pytest.importorskip("rich")
    arguments = ["--from", USER, "--to", USER, "--text", "x"] if command == "send" else []
    env = os.environ | {"MAILBACKENDS_URL": URLS[mistake]}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mailbackends", command, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert_hidden(done.stdout + done.stderr, "the terminal")


# --- logins that fail, and servers that quote what they got -----------------------------

LOGIN: dict[str, Any] = {"username": USER, "password": SECRET}


def by_smtp(server: Any) -> Any:
    with SMTP(server.host, server.port, timeout=10) as client:
        client.login(USER, SECRET)
        refused = client.sendmail(USER, [USER, "b@example.com"], "x")
        assert_hidden(repr(refused), "what sendmail() returned")


def by_mailer(server: Any) -> Any:
    message = EmailMessage()
    message["From"], message["To"] = USER, f"{USER}, b@example.com"
    events: list[Any] = []
    with Mailer(
        host=server.host, port=server.port, **LOGIN, on_event=events.append, timeout=10
    ) as mailer:
        try:
            receipt = mailer.send_message(message)
            assert_hidden(f"{receipt} {receipt!r} {receipt.as_dict()}", "the receipt")
        finally:
            shown = [f"{event} {event.as_dict()}" for event in events]
            assert_hidden(f"{shown} {mailer.stats().as_dict()}", "an event")


def by_django(server: Any) -> Any:
    message = DjangoMessage("s", "b", USER, [USER, "b@example.com"])
    try:
        EmailBackend(host=server.host, port=server.port, **LOGIN).send_messages([message])
    finally:
        shown = [getattr(message, name, None) for name in ("receipt", "send_error")]
        assert_hidden(repr(shown), "the message")


def by_flask(server: Any) -> Any:
    of_flask({"host": server.host, "port": server.port, **LOGIN})


def by_doctor(server: Any) -> Any:
    for step in diagnose(Options(host=server.host, port=server.port, **LOGIN)):
        assert_hidden(repr(step), "a step of the doctor")


INTERFACES = {
    "Mailer": by_mailer,
    "SMTP": by_smtp,
    "Django": by_django,
    "Flask": by_flask,
    "diagnose()": by_doctor,
}
interfaces = pytest.mark.parametrize("interface", INTERFACES)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("fault", ["refusal", "end of the connection"])
@interfaces
def test_a_login_that_fails_shows_no_secret(interface: str, fault: str, mechanism: str) -> None:
    with Sink(login=(USER, "another"), mechanisms=[mechanism]) as sink:
        if fault != "refusal":
            sink.hang_up("AUTH")
        error = failure_of(functools.partial(INTERFACES[interface], sink))
    assert error is not None or interface == "diagnose()"
    if error is not None:
        check(error)


PLAIN = base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode()
QUOTES: dict[str, dict[str, Any]] = {
    "in the refusal": {"auth": f"501 5.5.4 Cannot decode AUTH parameter: {PLAIN}"},
    "cut off in the refusal": {"auth": f"501 5.5.4 Cannot decode AUTH parameter: {PLAIN[:40]}"},
    "decoded in the refusal": {"auth": f"535 5.7.8 {USER} has not the password {SECRET}"},
    "as a reply that is none": {"auth": f"650 {PLAIN}"},
    "as a challenge": {"auth": f"334 {PLAIN}", "response": f"535 {SECRET}"},
    "when it accepts": {"auth": f"235 {SECRET}"},
    "in later replies": {
        "mail": f"250 {SECRET}",
        "rcpt": ["250 ok", f"550 5.1.1 no such user as {SECRET}"],
        "data": f"354 {PLAIN}",
        "content": f"250 2.0.0 {SECRET} queued",
    },
    "in a later refusal": {"mail": f"550 {PLAIN} {SECRET}"},
    "in a later reply that is none": {"mail": f"650 {SECRET}"},
    "as its last words": {"rcpt": f"421 {SECRET}"},
}


@pytest.mark.parametrize("quote", QUOTES)
@interfaces
def test_what_a_server_quotes_is_masked(interface: str, quote: str) -> None:
    ehlo = "250-mail.test\r\n250 AUTH PLAIN"
    with TalkServer(Talk(ehlo=ehlo, **QUOTES[quote])) as server:
        error = failure_of(functools.partial(INTERFACES[interface], server))
    if error is not None:
        check(error)


# --- representations --------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Options(username=USER, password=SECRET),
        lambda: Options.from_url(f"smtps://{USER}:{QUOTED}@smtp.example.com"),
        lambda: Options(rate="1/second", rate_storage=f"redis://:{QUOTED}@localhost"),
        lambda: Options(username=USER, token_provider=functools.partial(str, SECRET)),
        lambda: Options(username=USER, password=SECRET).credentials,
        lambda: Credentials(USER, SECRET),
        lambda: Mailer(f"smtps://{USER}:{QUOTED}@smtp.example.com"),
        lambda: Mailer(f"smtps://{USER}:{QUOTED}@smtp.example.com").stats(),
        lambda: refresh_token("https://id.example.com/token", "client", SECRET, SECRET),
        lambda: EmailBackend(host="h", username=USER, password=SECRET),
    ],
)
def test_no_representation_shows_a_secret(make: Callable[[], Any]) -> None:
    value = make()
    assert_hidden(f"{value} {value!r}", "a representation")
    if not isinstance(value, EmailBackend):  # it has Django's attributes, the password as text
        with suppress(TypeError):
            assert_hidden(repr(vars(value)), "the attributes")


def test_an_lmtp_client_has_no_login_and_shows_none() -> None:
    error = failure_of(lambda: LMTP().login(USER, SECRET))
    assert error is not None
    check(error)
