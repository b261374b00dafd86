"""Cases of the corpus about servers (transcripts) and about settings, by every interface."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import mailbackends
from mailbackends import Mailer, Options, SMTPException
from support.corpus import Case
from support.peer import Peer
from support.scripted import ScriptedServer

__all__ = ["check_settings", "check_transcript"]

SENDER, RECIPIENT = "shop@example.com", "ada@example.com"
_CONTENT = b"Subject: a subject\r\n\r\ntext\r\n"


# --- Transcripts -------------------------------------------------------------------------


def check_transcript(case: Case, interface: str) -> None:
    """Send one message, or two, to a server that plays the transcript, and compare the results.

    Raises:
        AssertionError: the result or what the client said differs.
    """
    expected = case.for_interface(interface)
    plays = [_play(text) for text in case.given["connections"]]
    with ScriptedServer(*plays) as server:
        options = {"timeout": 5.0, **case.given.get("options", {})}
        results = _SENDERS[interface](server, options, case.given.get("messages", 1))
    outcomes = [getattr(result, "outcome", result) for result in results]
    assert [str(outcome) for outcome in outcomes] == expected["outcomes"], results
    assert server.connections == expected.get("connections", len(plays))
    shown = "".join(f"{result} {result!r}" for result in results if isinstance(result, Exception))
    for words in expected.get("error", []):
        assert words in shown
    for words in expected.get("lacks", []):
        assert words not in shown


def _play(text: str) -> Callable[[Peer], None]:
    """What the server does: the lines are ``S: reply``, ``C: command`` or ``C: (content)``."""
    steps = [(line[0], line[3:]) for line in text.strip().splitlines()]

    def play(peer: Peer) -> None:
        for who, line in steps:
            if who == "S":
                peer.send(line.encode() + b"\r\n")
            elif line == "(content)":
                while peer.read_line() != b".":
                    pass
            elif line == "(close)":
                return
            else:
                said = peer.read_line().decode()
                assert said.upper().startswith(line.upper()), f"not {line!r} but {said!r}"

    return play


def _result_of(send: Callable[[], Any]) -> Any:
    try:
        send()
    except SMTPException as error:
        return error
    return "accepted"


def _by_mailer(server: ScriptedServer, options: dict[str, Any], count: int) -> list[Any]:
    with Mailer(host="127.0.0.1", port=server.port, local_hostname="c.x", **options) as mailer:
        return [
            _result_of(lambda: mailer.send_message(_CONTENT, SENDER, RECIPIENT))
            for _ in range(count)
        ]


def _by_smtp(server: ScriptedServer, options: dict[str, Any], count: int) -> list[Any]:
    results = []
    with mailbackends.SMTP("127.0.0.1", server.port, "c.x", timeout=options["timeout"]) as smtp:
        for _ in range(count):

            def send() -> None:
                if "username" in options and smtp.ehlo_resp is None:
                    smtp.login(options["username"], options["password"])
                smtp.sendmail(SENDER, [RECIPIENT], _CONTENT)

            results.append(_result_of(send))
    return results


def _by_django(server: ScriptedServer, options: dict[str, Any], count: int) -> list[Any]:
    from django.core.mail import EmailMessage

    with _django({}):
        from django_integration import EmailBackend

        backend = EmailBackend(host="127.0.0.1", port=server.port, local_hostname="c.x", **options)
        try:
            return [
                _result_of(
                    lambda: backend.send_messages([EmailMessage("s", "b", SENDER, [RECIPIENT])])
                )
                for _ in range(count)
            ]
        finally:
            backend.close()


def _by_flask(server: ScriptedServer, options: dict[str, Any], count: int) -> list[Any]:
    from flask import Flask

    import flask_integration

    app = Flask("corpus")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=server.port, MAIL_LOCAL_HOSTNAME="c.x")
    app.config.update({f"MAIL_{name.upper()}": value for name, value in options.items()})
    mail = flask_integration.Mail(app)
    with app.app_context(), contextlib.closing(mail):
        return [
            _result_of(
                lambda: mail.send(flask_integration.Message("s", [RECIPIENT], "b", sender=SENDER))
            )
            for _ in range(count)
        ]


_SENDERS: dict[str, Callable[[ScriptedServer, dict[str, Any], int], list[Any]]] = {
    "mailer": _by_mailer,
    "smtp": _by_smtp,
    "django": _by_django,
    "flask": _by_flask,
}


# --- Settings ----------------------------------------------------------------------------


def check_settings(case: Case, interface: str) -> None:
    """Read the settings of an interface, and compare the options, or the error.

    Raises:
        AssertionError: it differs, or the error shows a secret.
    """
    expected = case.for_interface(interface)
    options, error = _read(interface, case.given[interface])
    if error is not None:
        assert "refused" in expected, error
        assert isinstance(error, ValueError), repr(error)
        for words in expected["refused"]:
            assert words in str(error)
        for secret in case.given.get("secrets", []):
            assert secret not in f"{error} {error!r}"
        return
    assert "refused" not in expected, options
    assert options is not None, error
    found = {name: getattr(options, name) for name in expected["options"]}
    found = {n: v if isinstance(v, int | float | list) else str(v) for n, v in found.items()}
    assert found == expected["options"]
    if "password" in expected:
        assert options.password is not None
        assert mailbackends.Secret(options.password).reveal() == expected["password"]
    for secret in case.given.get("secrets", []):
        assert secret not in f"{options!r}"


def _read(interface: str, given: Any) -> tuple[Options, None] | tuple[None, Exception]:
    try:
        return _READERS[interface](given), None
    except Exception as error:
        return None, error


def _mailer_options(given: Any) -> Options:
    with Mailer(**given) if isinstance(given, dict) else Mailer(given) as mailer:
        return mailer.options


def _django_options(given: dict[str, Any]) -> Options:
    with _django(given):
        from django_integration import EmailBackend

        return EmailBackend().options


def _flask_options(given: dict[str, Any]) -> Options:
    from flask import Flask

    import flask_integration

    app = Flask("corpus")
    app.config.update(given)
    with app.app_context(), contextlib.closing(flask_integration.Mail(app)) as mail:
        assert mail.state is not None
        return mail.state.options


_READERS: dict[str, Callable[[Any], Options]] = {
    "mailer": _mailer_options,
    "django": _django_options,
    "flask": _flask_options,
}


@contextlib.contextmanager
def _django(values: dict[str, Any]) -> Iterator[None]:
    """Django with these settings."""
    import warnings

    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="corpus", INSTALLED_APPS=["django_integration"])
        __import__("django").setup()
    from django.test import override_settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Django 6.1 deprecates backends outside of MAILERS
        with override_settings(**values):
            yield
