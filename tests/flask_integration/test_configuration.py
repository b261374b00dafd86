"""``MAIL_`` settings: all of them are read, and mistakes are reported before anything is sent."""

from __future__ import annotations

import logging
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_integration import ConfigurationWarning, Mail, MailState
from flask_integration.config import KEYS
from mailbackends import ConfigurationError, Options

from .conftest import MakeApp


def state_of(**config: Any) -> MailState:
    return Mail().init_mail({f"MAIL_{name}": value for name, value in config.items()})


def test_without_settings_mail_goes_to_localhost() -> None:
    state = state_of()
    assert state.options == Options()
    assert (state.server, state.port, state.use_tls, state.use_ssl) == (
        "localhost",
        25,
        False,
        False,
    )
    assert (state.username, state.password, state.default_sender) == (None, None, None)
    assert (state.debug, state.max_emails, state.suppress) == (0, None, False)
    assert state.ascii_attachments is False


def test_the_settings_of_flask_mail_have_the_same_meaning() -> None:
    state = state_of(
        SERVER="mail.example.com",
        PORT=2525,
        USE_TLS=True,
        USE_SSL=False,
        USERNAME="user",
        PASSWORD="secret",
        DEFAULT_SENDER=("Shop", "shop@example.com"),
        MAX_EMAILS=7,
        SUPPRESS_SEND=True,
        ASCII_ATTACHMENTS=True,
    )
    assert state.options == Options(
        host="mail.example.com",
        port=2525,
        security="starttls",
        username="user",
        password="secret",
        max_messages_per_connection=7,
    )
    assert (state.server, state.port, state.use_tls, state.use_ssl) == (
        "mail.example.com",
        2525,
        True,
        False,
    )
    assert (state.username, state.password) == ("user", "secret")
    assert state.default_sender == ("Shop", "shop@example.com")
    assert (state.max_emails, state.suppress, state.ascii_attachments) == (7, True, True)


def test_the_settings_of_flask_mailman_have_the_same_meaning() -> None:
    with pytest.warns(ConfigurationWarning, match="MAIL_SSL_CERTFILE and MAIL_SSL_KEYFILE"):
        state = state_of(
            TIMEOUT=5,
            SSL_CERTFILE="client.pem",
            SSL_KEYFILE="client.key",
            USE_LOCALTIME=False,
            DEFAULT_CHARSET="latin-1",
            SEND_OPTIONS=["RET=HDRS"],
            BACKEND="flask_mailman.backends.dummy.EmailBackend",
            FILE_PATH="/nowhere",
        )
    assert state.options.timeout == 5
    assert (state.ssl_certfile, state.ssl_keyfile) == ("client.pem", "client.key")
    assert (state.rendering.local_time, state.rendering.charset) == (False, "latin-1")
    assert state.mail_options == ("RET=HDRS",)
    assert state.file_path == "/nowhere"
    assert type(state.backend).__name__ == "DummyBackend"


def test_a_client_certificate_is_used_once_tls_is_switched_on() -> None:
    with pytest.warns(ConfigurationWarning, match="set MAIL_USE_TLS or MAIL_USE_SSL"):
        state = state_of(SSL_CERTFILE="client.pem")
    assert state.options.ssl_certfile is None
    state.use_tls = True
    assert state.options.ssl_certfile == "client.pem"
    state.use_tls = False
    assert state.options.ssl_certfile is None


def test_a_ca_file_without_tls_is_an_error() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"MAIL_SSL_CAFILE.+'ca\.pem'.+MAIL_USE_TLS = True, or MAIL_USE_SSL = True",
    ):
        state_of(SSL_CAFILE="ca.pem")


def test_tls_files_go_only_to_servers_that_use_tls() -> None:
    state = state_of(URL="smtp://localhost smtps://two.example.com", SSL_CAFILE="ca.pem")
    servers = (state.options, *state.settings.fallbacks)
    assert [each.ssl_cafile for each in servers] == [None, "ca.pem"]


def test_every_option_of_a_mailer_is_a_setting() -> None:
    given: dict[str, Any] = {
        "HOST": "mail.example.com",
        "SECURITY": "tls",
        "USERNAME": "user",
        "TOKEN_PROVIDER": lambda: "token",
        "AUTH_MECHANISMS": "xoauth2, oauthbearer",
        "LOCAL_HOSTNAME": "client.example.com",
        "CONNECT_TIMEOUT": 3,
        "CONTENT_TIMEOUT": 4,
        "DEADLINE": None,
        "POOL_SIZE": 9,
        "POOL_TIMEOUT": 5,
        "MAX_MESSAGES_PER_CONNECTION": 50,
        "MAX_LIFETIME": 60,
        "MAX_IDLE": 10,
        "TLS_MINIMUM_VERSION": "TLSv1.3",
        "PIPELINING": "no",
        "CHUNKING": False,
        "BATCH_CONNECTIONS": 2,
    }
    options = state_of(**given).options
    assert options.deadline is None
    assert options.auth_mechanisms == ("XOAUTH2", "OAUTHBEARER")
    assert (options.pipelining, options.chunking) == (False, False)
    assert (options.pool_size, options.max_messages_per_connection, options.batch_connections) == (
        9,
        50,
        2,
    )
    assert {name.upper() for name in Options.known()} <= KEYS


def test_a_custom_ssl_context_is_used() -> None:
    context = ssl.create_default_context()
    assert state_of(USE_SSL=True, SSL_CONTEXT=context).options.ssl_context is context


def test_a_url_can_contain_all_options() -> None:
    state = state_of(URL="smtps://user:s%40cret@mail.example.com?pool_size=2", POOL_TIMEOUT=3)
    assert state.options == Options(
        host="mail.example.com",
        security="tls",
        username="user",
        password="s@cret",
        pool_size=2,
        pool_timeout=3,
    )
    assert (state.port, state.use_ssl) == (465, True)


def test_lists_may_be_given_as_text() -> None:
    state = state_of(SEND_OPTIONS="RET=HDRS, BODY=8BITMIME", AUTH_MECHANISMS="PLAIN LOGIN")
    assert state.mail_options == ("RET=HDRS", "BODY=8BITMIME")


def test_the_debug_levels_of_flask_mail_are_accepted() -> None:
    assert state_of(DEBUG=0).debug == 0
    assert state_of(DEBUG="false").debug == 0


def test_an_empty_deadline_means_the_default_and_none_means_no_deadline() -> None:
    assert state_of(DEADLINE="").options.deadline == 180
    assert state_of(DEADLINE=None).options.deadline is None


def test_several_urls_mean_several_servers() -> None:
    one, two = "smtp://one.example.com", "smtps://two.example.com"
    for urls in ([one, two], f"{one} {two}"):
        state = state_of(URL=urls, STRATEGY="round_robin", POOL_SIZE=2)
        assert [state.server, *[each.host for each in state.settings.fallbacks]] == [
            "one.example.com",
            "two.example.com",
        ]
        assert {each.pool_size for each in (state.options, *state.settings.fallbacks)} == {2}
        assert state.settings.strategy == "round_robin"


def test_settings_from_the_environment_may_be_text_or_empty() -> None:
    state = state_of(
        SERVER="mail.example.com",
        PORT="587",
        USE_TLS="true",
        USE_SSL="False",
        USERNAME="",
        PASSWORD=None,
        MAX_EMAILS="",
        SUPPRESS_SEND="0",
        TIMEOUT="2.5",
        POOL_SIZE="3",
        URL="",
    )
    assert state.options == Options(
        host="mail.example.com", port=587, security="starttls", timeout=2.5, pool_size=3
    )
    assert state.suppress is False


def test_the_default_sender_may_be_a_list_as_in_json() -> None:
    assert state_of(DEFAULT_SENDER=["Shop", "shop@example.com"]).default_sender == (
        "Shop",
        "shop@example.com",
    )


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"USE_TLS": True, "USE_SSL": True}, "MAIL_USE_TLS and MAIL_USE_SSL cannot both be true"),
        ({"USE_TLS": "maybe"}, "MAIL_USE_TLS must be True or False, got 'maybe'"),
        ({"SUPPRESS_SEND": "often"}, "MAIL_SUPPRESS_SEND must be True or False, got 'often'"),
        ({"PORT": "smtp"}, ("MAIL_PORT", "'smtp'")),
        ({"PORT": 99999}, ("MAIL_PORT", "99999")),
        ({"SERVER": "mail example"}, ("MAIL_SERVER", "'mail example'")),
        ({"SERVER": "a.example", "HOST": "b.example"}, "MAIL_SERVER and MAIL_HOST are two names"),
        (
            {"MAX_EMAILS": 1, "MAX_MESSAGES_PER_CONNECTION": 2},
            "MAIL_MAX_EMAILS and MAIL_MAX_MESSAGES_PER_CONNECTION are two",
        ),
        ({"SECURITY": "ssl"}, ("MAIL_SECURITY", "'ssl'", "'starttls'")),
        ({"SECURITY": "none", "USE_TLS": True}, "MAIL_SECURITY='none' contradicts"),
        ({"TIMEOUT": 0}, ("MAIL_TIMEOUT", "0")),
        ({"MAX_EMAILS": 0}, "MAIL_MAX_EMAILS must be a positive integer or None, got 0"),
        ({"MAX_EMAILS": "all"}, "MAIL_MAX_EMAILS must be a positive integer or None, got 'all'"),
        ({"POOL_SIZE": "many"}, ("MAIL_POOL_SIZE", "'many'")),
        ({"URL": "smtp://a.example", "POOL_SIZE": "many"}, ("MAIL_POOL_SIZE", "'many'")),
        (
            {"URL": "smtp://a.example?pool_size=many"},
            ("pool_size in MAIL_URL must be an integer", "'many'"),
        ),
        ({"SSL_CAFILE": "ca.pem"}, ("MAIL_SSL_CAFILE", "MAIL_USE_SSL")),
        ({"PASSWORD": 1.5, "USERNAME": "u"}, "MAIL_PASSWORD must be text, got float: Flask reads"),
        ({"PASSWORD": True, "USERNAME": "u"}, "FLASK_MAIL_PASSWORD="),
        ({"USERNAME": [1], "PASSWORD": "p"}, "MAIL_USERNAME must be text, got list"),
        ({"DEFAULT_SENDER": "no address"}, "MAIL_DEFAULT_SENDER 'no address' is not an address"),
        ({"DEFAULT_SENDER": ("a", "b", "c")}, "('Name', 'address'), got ('a', 'b', 'c')"),
        ({"DEFAULT_SENDER": "a@x.com\r\nBcc: b@x.com"}, "contains a line break"),
        ({"BACKEND": "smpt"}, "MAIL_BACKEND 'smpt' cannot be found: did you mean 'smtp'?"),
        ({"BACKEND": "flask.Flask"}, "must name a subclass of flask_integration.Backend"),
        ({"URL": "http://mail.example.com"}, "unknown scheme 'http'"),
        ({"URL": "smtp://mail.example.com:port"}, "has a wrong port"),
        ({"URL": "smtp://mail.example.com?pool_sise=2"}, "did you mean 'pool_size'?"),
        (
            {"URL": "smtp://a.example", "SERVER": "b.example"},
            "MAIL_URL and MAIL_SERVER cannot",
        ),
        ({"URL": "smtps://a.example", "USE_TLS": True}, "cannot be combined with MAIL_URL"),
        ({"STRATEGY": "random"}, "MAIL_STRATEGY must be 'ordered' or 'round_robin', got 'random'"),
        ({"URL": 5}, "MAIL_URL must be a URL"),
        ({"URL": [5]}, "MAIL_URL must be a URL"),
        ({"RATE": "often"}, ("MAIL_RATE", "'often'")),
        ({"MAILERS": "bulk"}, "MAIL_MAILERS must map names to settings"),
        ({"MAILERS": {"bulk": 1}}, "MAIL_MAILERS['bulk'] must be a URL or a mapping"),
        ({"MAILERS": {"bulk": {"SEVER": "x"}}}, "did you mean MAIL_MAILERS['bulk']: SERVER?"),
        ({"MAILERS": {"bulk": {"PORT": "x"}}}, ("MAIL_MAILERS['bulk']: PORT", "'x'")),
        (
            {"MAILERS": {"default": {"SERVER": "a.example"}}, "SERVER": "b.example"},
            "MAIL_MAILERS['default'] and MAIL_SERVER cannot both be set",
        ),
        (
            {"SERVER": "mail.example.com", "USERNAME": "user", "PASSWORD": "hunter2"},
            "the password would go to mail.example.com in clear",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_setting_and_value(
    config: dict[str, Any], text: str | tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        state_of(**config)
    for part in (text,) if isinstance(text, str) else text:
        assert part in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_of_digits_from_the_environment_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_MAIL_USERNAME", "42")
    monkeypatch.setenv("FLASK_MAIL_PASSWORD", "123456")
    app = Flask("app")
    app.config.from_prefixed_env()
    assert app.config["MAIL_PASSWORD"] == 123456
    assert Mail(app).init_app(app).options == Options(username="42", password="123456")


def test_an_unknown_setting_causes_a_warning_with_the_nearest_known_one(make_app: MakeApp) -> None:
    app = make_app(MAIL_SEVER="mail.example.com")
    with pytest.warns(ConfigurationWarning, match="MAIL_SEVER: did you mean MAIL_SERVER") as caught:
        Mail(app)
    assert caught[0].filename == __file__
    with pytest.warns(ConfigurationWarning, match="it has no effect") as caught:
        Mail().init_app(make_app(MAIL_ZZZZZZ=1))
    assert caught[0].filename == __file__


def test_an_incomplete_login_causes_a_warning_and_no_login_as_in_flask_mail() -> None:
    with pytest.warns(ConfigurationWarning, match="MAIL_PASSWORD is not, so no login is made"):
        state = state_of(USERNAME="user")
    assert state.options.username is None
    with pytest.warns(ConfigurationWarning, match="MAIL_USERNAME is not"):
        state_of(PASSWORD="secret")


@pytest.mark.parametrize(
    "other", [{"TOKEN_PROVIDER": lambda: "token"}, {"AUTH_MECHANISMS": "EXTERNAL"}]
)
def test_a_login_needs_no_password_with_a_token_or_a_mechanism(
    other: dict[str, Any],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert state_of(USERNAME="user", **other).options.username == "user"


def test_settings_of_other_extensions_are_ignored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Mail().init_mail({"FLASKY_MAIL_SENDER": 1, "MAILGUN_KEY": "x", "SECRET_KEY": "y"})


def test_named_mailers_have_their_own_server_and_inherit_how_messages_are_written(
    make_app: MakeApp,
) -> None:
    app = make_app(
        MAIL_SERVER="one.example.com",
        MAIL_MAX_EMAILS=5,
        MAIL_SUPPRESS_SEND=True,
        MAIL_MAILERS={
            "bulk": {"url": "smtp://two.example.com", "MAIL_DEFAULT_SENDER": "news@example.com"},
            "alerts": "smtps://three.example.com",
        },
    )
    mail = Mail(app)
    bulk, alerts = mail.using("bulk").state, mail.using("alerts").state
    assert bulk is not None
    assert alerts is not None
    assert (bulk.server, bulk.default_sender) == ("two.example.com", "news@example.com")
    assert (alerts.server, alerts.port, alerts.default_sender) == (
        "three.example.com",
        465,
        "Shop <shop@example.com>",
    )
    assert bulk.suppress
    assert bulk.options.max_messages_per_connection == 5
    assert mail.using("default").state is mail.state
    assert mail.using("bulk").state is bulk
    with pytest.raises(
        ConfigurationError, match="unknown configuration key bulc: did you mean bulk"
    ):
        mail.using("bulc").send_message("Hello", ["a@x.com"])


def test_a_named_mailer_is_suppressed_with_the_application_unless_it_sets_otherwise(
    make_app: MakeApp,
) -> None:
    mailers = {"bulk": "smtp://two.example", "alerts": {"HOST": "three", "SUPPRESS_SEND": False}}
    mail = Mail(make_app(MAIL_MAILERS=mailers, MAIL_SUPPRESS_SEND=False))
    bulk, alerts = mail.using("bulk").state, mail.using("alerts").state
    assert mail.state is not None
    assert bulk is not None
    assert alerts is not None
    assert (bulk.suppress, alerts.suppress) == (False, False)
    mail.state.suppress = True
    assert (bulk.suppress, alerts.suppress) == (True, False)
    bulk.suppress = False
    assert bulk.suppress is False


def test_the_default_mailer_may_be_one_of_the_named_ones() -> None:
    state = state_of(MAILERS={"default": "smtps://one.example.com", "bulk": "smtp://two.example"})
    assert state.server == "one.example.com"
    assert state.named("default").server == "one.example.com"
    assert state.named("bulk").server == "two.example"


def test_equal_settings_make_equal_states(app: Flask) -> None:
    mail = Mail(app)
    assert mail.state is not None
    assert mail.state.__dict__ == mail.init_mail(app.config, app.debug, app.testing).__dict__


def test_testing_takes_effect_whenever_it_is_set(make_app: MakeApp) -> None:
    app = make_app()
    mail = Mail(app)
    assert mail.suppress is False
    app.config["TESTING"] = True
    assert mail.suppress is True
    app.testing = False
    assert mail.suppress is False
    app.config["MAIL_SUPPRESS_SEND"] = True
    assert mail.suppress is True


def test_suppress_send_takes_precedence_over_testing(make_app: MakeApp) -> None:
    assert Mail(make_app(TESTING=True, MAIL_SUPPRESS_SEND=False)).suppress is False
    assert Mail(make_app(TESTING=False, MAIL_SUPPRESS_SEND=True)).suppress is True


def test_init_mail_has_an_argument_testing() -> None:
    assert Mail().init_mail({}, testing=True).suppress is True
    assert Mail().init_mail(config={"TESTING": True}, testing=True).suppress is True


def test_attributes_of_the_state_take_effect_with_the_next_message() -> None:
    state = state_of(SERVER="mail.example.com", USE_TLS=True)
    state.username = "user"
    state.password = "secret"
    state.server, state.port, state.use_ssl = "other.example.com", 2465, True
    state.default_sender = "new@example.com"
    state.ascii_attachments = True
    state.suppress = True
    assert state.options == Options(
        host="other.example.com", port=2465, security="tls", username="user", password="secret"
    )
    assert (state.use_tls, state.use_ssl, state.ascii_attachments) == (False, True, True)
    state.use_tls = False
    assert (state.use_tls, state.use_ssl) == (False, True)
    state.max_emails = 5
    assert state.options.max_messages_per_connection == 5
    state.max_emails = None
    assert state.options.max_messages_per_connection == 100
    state.use_ssl = False
    assert (state.use_tls, state.use_ssl) == (False, False)


def test_no_secret_is_in_any_repr_or_output() -> None:
    state = state_of(URL="smtps://user:hunter2@mail.example.com")
    assert "hunter2" not in f"{state!r} {state.options!r} {state.settings!r}"


@pytest.fixture
def _quiet_logger() -> Iterator[None]:
    logger = logging.getLogger("mailbackends")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.usefixtures("_quiet_logger")
def test_debug_shows_conversations_but_no_secret(
    make_app: MakeApp, secure_settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("mailbackends")
    logger.setLevel(logging.NOTSET)
    Mail(make_app(**secure_settings, DEBUG=True))
    assert logger.level == logging.NOTSET
    mail = Mail(make_app(**secure_settings, MAIL_DEBUG=True))
    assert logger.level == logging.DEBUG
    assert mail.debug == 1
    mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert "MAIL FROM:<shop@example.com>" in caplog.text
    assert "secret" not in caplog.text
    assert "AHVzZXIAc2VjcmV0" not in caplog.text
