"""A wrong password is not shown: not in the error, a log, a repr, or a frame's variables."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from urllib.parse import quote

import pytest

from mailbackends import ConfigurationError, Mailer, Options, Outcome, SMTPAuthenticationError
from mailbackends.protocol.sasl import Credentials
from support.face import TLSMode
from support.scram_server import ScramServer, hi
from support.sink import Sink

SECRET = "hunter2-Zq8/%:@#"
USER = "alice@example.com"
SALT = b"sixteen octets!!"


def scram(ask: Callable[[bytes], bytes], initial: bytes | None) -> bool:
    server = ScramServer("sha256", b"another password", salt=SALT)
    answer = server.final(ask(server.first(initial or b"")))
    return answer.startswith(b"v=")


def xoauth2(ask: Callable[[bytes], bytes], initial: bytes | None) -> bool:
    ask(json.dumps({"status": "401", "schemes": "bearer"}).encode())
    return False


@cache
def forms_of(secret: str) -> list[str]:
    """The secret as it is on the wire, and what may be derived from it."""
    raw = secret.encode()
    plain = b"\0" + USER.encode() + b"\0" + raw
    bearer = f"user={USER}\x01auth=Bearer {secret}\x01\x01".encode()
    salted = hi(raw, SALT, 4096, "sha256")
    coded = [base64.b64encode(data).decode() for data in (raw, plain, bearer)]
    return [secret, quote(secret, safe=""), *coded, repr(salted)[2:-1], salted.hex()]


def variables_of(error: BaseException | None) -> Iterator[tuple[str, str]]:
    """All variables of all frames that ``error`` and its causes went through, as reports show them.

    Frames of the tests are left out.
    """
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "mailbackends" in frame.f_globals.get("__name__", "").partition(".")[0]:
                yield from _variables(frame)
        error = error.__cause__ or error.__context__


def _variables(frame: FrameType) -> Iterator[tuple[str, str]]:
    for name, value in frame.f_locals.items():
        place = f"{frame.f_code.co_qualname}: {name}"
        yield place, repr(value)
        # Reports such as Sentry's go one level deeper, into plain containers.
        if isinstance(value, dict):
            yield place, repr(list(value.values()))


def assert_hidden(text: str, where: str) -> None:
    for form in forms_of(SECRET):
        assert form not in text, f"the secret is in {where}: {text[:300]}"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at every level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2"])
def test_a_wrong_password_is_not_shown_in_the_error(
    message, log: io.StringIO, mechanism: str, tls: TLSMode
) -> None:
    sasl = {"SCRAM-SHA-256": scram, "XOAUTH2": xoauth2}
    with Sink(
        tls=tls,
        login=(USER, "right"),
        mechanisms=[mechanism] if mechanism in ("PLAIN", "LOGIN") else [],
        sasl={name: play for name, play in sasl.items() if name == mechanism},
    ) as sink:
        token = {"token_provider": lambda: SECRET}
        mailer = Mailer(
            host=sink.host,
            port=sink.port,
            security={"none": "none", "starttls": "starttls", "tls": "tls"}[tls],
            ssl_cafile=sink.cafile if tls != "none" else None,
            username=USER,
            auth_mechanisms=(mechanism,),
            **(token if mechanism == "XOAUTH2" else {"password": SECRET}),
        )
        with pytest.raises(SMTPAuthenticationError) as caught:
            mailer.send_message(message())
        assert any(line.startswith("AUTH") for line in sink.commands[0])
    error = caught.value
    assert error.outcome is Outcome.NOT_SENT
    assert error.smtp_code == 535
    for name, text in {
        "str": str(error),
        "repr": repr(error),
        "vars": repr(vars(error)),
        "pickle": pickle.dumps(error).decode("latin-1"),
        "traceback": "".join(traceback.format_exception(error)),
        "mailer": f"{mailer!r} {mailer} {mailer.stats()}",
        "options": f"{mailer.options!r} {mailer.options}",
    }.items():
        assert_hidden(text, name)
    seen = [place for place, _ in variables_of(error)]
    assert len(seen) > 20
    for place, text in variables_of(error):
        assert_hidden(text, place)
    assert "AUTH" in log.getvalue()
    assert_hidden(log.getvalue(), "the log")


def test_a_correct_password_is_in_no_log(message, log: io.StringIO) -> None:
    with Sink(login=(USER, SECRET)) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
    assert "> AUTH PLAIN ***" in log.getvalue()
    assert_hidden(log.getvalue(), "the log")


@pytest.mark.parametrize("step", ["AUTH", "MAIL"])
def test_a_fault_during_or_after_the_login_shows_no_password(message, step: str) -> None:
    with Sink(login=(USER, SECRET)) as sink, Mailer(sink.url) as mailer:
        sink.hang_up(step)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its frames are examined
            mailer.send_message(message())
    for place, text in variables_of(caught.value):
        assert_hidden(text, place)


@pytest.mark.parametrize(
    "url",
    [
        f"smtp://alice:{quote(SECRET, safe='')}@localhost:nonsense",
        f"smtp://alice:{quote(SECRET, safe='')}@localhost:99999",
        f"smtpx://alice:{quote(SECRET, safe='')}@localhost",
        f"smtp://alice:{quote(SECRET, safe='')}@localhost/path",
        f"smtp://alice:{quote(SECRET, safe='')}@localhost?pool_size=no",
        f"smtp://alice:{quote(SECRET, safe='')}@localhost?pol_size=1",
        f"smtp://alice:{SECRET}@localhost",
        f"smtp://alice:{quote(SECRET, safe='')}@mail.example.com",
        f"smtp://alice:{quote(SECRET, safe='')}@",
    ],
)
def test_the_error_for_a_wrong_url_hides_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer(url)
    assert_hidden(str(caught.value), "the error")
    assert "hunter2" not in str(caught.value)


def test_objects_with_the_password_do_not_show_it() -> None:
    options = Options(username=USER, password=SECRET)
    for value in (options, options.credentials, Credentials(USER, SECRET), Mailer(options)):
        assert_hidden(f"{value!r} {value}", type(value).__name__)
