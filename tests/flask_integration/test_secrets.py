"""No secret of the configuration is in an error, or in the variables of its traceback."""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import pytest
from flask import Flask

from flask_integration import ConfigurationWarning, Mail, Message

SECRET = "S3CRET"
LOGIN = {"MAIL_USERNAME": "shop", "MAIL_PASSWORD": SECRET}


def shown(error: BaseException) -> str:
    """A traceback with the variables of each frame, as debug pages and error reporters show it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def init_app(app: Flask) -> BaseException | None:
    try:
        Mail(app)
    except Exception as error:
        return error
    return None


MISTAKES: list[dict[str, Any]] = [
    {**LOGIN, "MAIL_TIMEOUT": "abc"},
    {**LOGIN, "MAIL_POOL_SIZE": 0},
    {**LOGIN, "MAIL_USE_TLS": True, "MAIL_USE_SSL": True},
    {**LOGIN, "MAIL_USE_TLS": "perhaps"},
    {**LOGIN, "MAIL_SERVER": "mail.example.com"},
    {**LOGIN, "MAIL_SSL_CAFILE": "ca.pem"},
    {**LOGIN, "MAIL_BACKEND": "nowhere.Backend"},
    {**LOGIN, "MAIL_DEFAULT_SENDER": "no address"},
    {**LOGIN, "MAIL_MAILERS": {"bulk": {"SEVER": "mail.example.com", "PASSWORD": SECRET}}},
    {"MAIL_MAILERS": {"bulk": {"TIMEOUT": "abc", "USERNAME": "shop", "PASSWORD": SECRET}}},
    {"MAIL_MAILERS": {"bulk": f"smtps://shop:{SECRET}@mail.example.com?pool_sise=2"}},
    {"MAIL_URL": f"smtps://shop:{SECRET}@mail.example.com?timeout=abc"},
    {"MAIL_URL": f"smtps://shop:{SECRET}@mail.example.com", "MAIL_TIMEOUT": "abc"},
    {"MAIL_URL": f"smtps://shop:{SECRET}@mail.example.com", "MAIL_USE_TLS": True},
    {"MAIL_URL": [f"smtps://shop:{SECRET}@mail.example.com", 5]},
    {"MAIL_RATE": "often", "MAIL_RATE_STORAGE": f"redis://:{SECRET}@localhost"},
    {"MAIL_PASSWORD": SECRET},  # a warning, which the tests turn into an error
    {**LOGIN, "MAIL_SEVER": "mail.example.com"},
    {"MAIL_PASSWORD": [SECRET], "MAIL_USERNAME": "shop"},
]


@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
def test_a_mistake_in_the_configuration_shows_no_secret(mistake: int) -> None:
    app = Flask("shop")
    app.config.update(MISTAKES[mistake])
    error = init_app(app)
    assert error is not None
    assert SECRET not in shown(error)
    assert "init_app" in shown(error)


def test_init_mail_shows_no_secret() -> None:
    app = Flask("shop")
    app.config.update(LOGIN, MAIL_TIMEOUT="abc")
    with pytest.raises(ValueError, match="MAIL_TIMEOUT") as caught:
        Mail().init_mail(app.config)
    assert SECRET not in shown(caught.value)


def test_an_attribute_that_is_set_to_a_wrong_value_shows_no_secret() -> None:
    app = Flask("shop")
    app.config.update(LOGIN, MAIL_DEFAULT_SENDER="shop@example.com")
    mail = Mail(app)
    assert mail.state is not None
    mail.state.password = f"another {SECRET}"
    mail.state.timeout = "abc"
    with pytest.raises(ValueError, match="timeout") as caught:
        mail.send(Message("Hello", ["ada@example.com"], body="Hi"))
    assert SECRET not in shown(caught.value)


def test_an_error_in_a_backend_of_the_application_keeps_its_own_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> Any:
        raise ZeroDivisionError(name)

    monkeypatch.setattr("flask_integration.backends.import_module", broken)
    app = Flask("shop")
    app.config.update(LOGIN, MAIL_BACKEND="shop.mail.Backend")
    error = init_app(app)
    assert isinstance(error, ZeroDivisionError)
    assert "in broken" in shown(error)
    assert SECRET not in shown(error)


def test_a_warning_names_the_line_of_the_application() -> None:
    app = Flask("shop")
    app.config.update(MAIL_PASSWORD=SECRET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Mail(app)
    [warning] = caught
    assert (warning.category, warning.filename) == (ConfigurationWarning, __file__)
    assert SECRET not in str(warning.message)
