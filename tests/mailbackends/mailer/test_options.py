"""Options and URLs: their meaning, and the errors for invalid ones."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import ssl
from typing import Any

import pytest

from mailbackends import ConfigurationError, Mailer, Options, Secret

SERVER = "smtp+starttls://user:secret@mail.example.com"


class Lazy:
    """A lazy string, such as Flask-Babel's."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.text, name)

    def __str__(self) -> str:
        return self.text


# --- errors ---------------------------------------------------------------------------

# options -> what the text must contain: the name, the value, and a fix.
BAD_OPTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"pol_size": 3}, ["unknown option 'pol_size'", "did you mean 'pool_size'?"]),
    ({"zzz": 3}, ["unknown option 'zzz'", "choose from 'allow_cleartext_auth'", "'timeout'"]),
    ({"use_tls": True}, ["'use_tls'", "security='starttls'"]),
    ({"use_ssl": True, "use_tls": True}, ["'use_ssl'", "security='tls'"]),
    ({"user": "me"}, ["'user'", "username"]),
    ({"port": "smtp"}, ["port must be an integer, got 'smtp'"]),
    ({"port": "25x"}, ["port must be an integer, got '25x'"]),
    ({"port": 2.5}, ["port must be an integer, got 2.5"]),
    ({"port": True}, ["port must be an integer, got True"]),
    ({"port": 0}, ["port must be from 1 to 65535, got 0"]),
    ({"port": 70000}, ["port must be from 1 to 65535, got 70000"]),
    ({"host": ""}, ["host", "empty", "leave it out"]),
    ({"host": None}, ["host must not be None", "leave it out for 'localhost'"]),
    ({"host": 5}, ["host must be text, got 5"]),
    ({"host": "mail example"}, ["host must be a host name, got 'mail example'"]),
    ({"host": "smtp://mail"}, ["host must be a host name", "write only the host here"]),
    ({"host": "mail:25"}, ["host must be a host name, got 'mail:25'", "without port"]),
    ({"host": "mail\r\nQUIT"}, [r"host='mail\r\nQUIT'", "control character", "remove it"]),
    ({"local_hostname": "me\nRSET"}, [r"local_hostname='me\nRSET'", "control character"]),
    ({"security": "ssl"}, ["security must be one of 'none', 'starttls', 'tls', got 'ssl'"]),
    ({"security": None}, ["security must not be None", "leave it out for 'none'"]),
    ({"protocol": "imap"}, ["protocol must be one of 'smtp', 'lmtp', got 'imap'"]),
    ({"socket_path": "/run/lmtp"}, ["socket_path", "protocol='lmtp'"]),
    ({"timeout": 0}, ["timeout must be more than 0 and less than 1e9 seconds, got 0"]),
    ({"timeout": -1}, ["timeout must be more than 0", "got -1"]),
    ({"timeout": "soon"}, ["timeout must be a number of seconds, got 'soon'"]),
    ({"timeout": float("nan")}, ["timeout must be more than 0", "got nan"]),
    ({"deadline": float("inf")}, ["deadline must be", "less than 1e9 seconds, got inf"]),
    ({"pool_size": 0}, ["pool_size must be 1 or more, got 0"]),
    ({"pool_size": "two"}, ["pool_size must be an integer, got 'two'"]),
    ({"max_messages_per_connection": 0}, ["max_messages_per_connection must be 1 or more, got 0"]),
    ({"batch_connections": 9}, ["batch_connections=9", "pool_size=4", "raise pool_size"]),
    ({"pipelining": "maybe"}, ["pipelining must be True or False, got 'maybe'"]),
    ({"username": "me"}, ["username", "password", "token_provider"]),
    ({"password": "secret"}, ["password", "username", "give both"]),
    ({"token_provider": lambda: ""}, ["token_provider", "username", "give both"]),
    ({"username": "me", "token_provider": "t"}, ["token_provider", "callable", "str"]),
    (
        {"username": "me", "password": "secret", "host": "mail.example.com"},
        ["mail.example.com", "in clear", "security='starttls' or 'tls'", "allow_cleartext_auth"],
    ),
    ({"auth_mechanisms": "PLAIN"}, ["auth_mechanisms must be a list of names, got 'PLAIN'"]),
    ({"auth_mechanisms": 5}, ["auth_mechanisms must be a list of names, got 5"]),
    ({"auth_mechanisms": ["SCRAM-SHA-255"]}, ["'SCRAM-SHA-255'", "'SCRAM-SHA-256'"]),
    (
        {"source_address": "10.0.0.1"},
        ["source_address must be a pair of host and port, got '10.0.0.1'"],
    ),
    ({"source_address": ("10.0.0.1", 99999)}, ["source_address", "99999", "65535"]),
    ({"ssl_context": "yes"}, ["ssl_context", "ssl.SSLContext", "str"]),
    (
        {"ssl_context": ssl.create_default_context(), "ssl_cafile": "ca.pem"},
        ["ssl_context", "ssl_cafile", "contradict"],
    ),
    ({"ssl_keyfile": "key.pem"}, ["ssl_keyfile", "ssl_certfile", "give both"]),
    ({"ssl_cafile": "ca.pem"}, ["ssl_cafile='ca.pem'", "without TLS", "'starttls' or 'tls'"]),
    ({"ssl_certfile": "my.pem"}, ["ssl_certfile='my.pem'", "without TLS", "leave it out"]),
    ({"ssl_context": ssl.create_default_context()}, ["ssl_context=", "without TLS"]),
    ({"ssl_cafile": "/no/ca.pem", "security": "tls"}, ["ssl_cafile", "/no/ca.pem", "no file"]),
    ({"tls_minimum_version": "1.2", "security": "tls"}, ["'1.2'", "'TLSv1.2' or 'TLSv1.3'"]),
    ({"tls_minimum_version": "SSLv3", "security": "tls"}, ["'SSLv3' is too old", "use 'TLSv1.2'"]),
    ({"tls_minimum_version": "TLSv1", "security": "tls"}, ["'TLSv1' is too old", "use 'TLSv1.2'"]),
    ({"tls_minimum_version": "TLSv1.1", "security": "tls"}, ["too old", "'TLSv1.2' or 'TLSv1.3'"]),
]


def stable_id(value: object) -> str:
    """The value as text that is the same in each run: test runners in parallel compare it."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:50]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=stable_id)
def test_the_error_for_a_wrong_option_names_it_its_value_and_a_fix(
    options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer(**options)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert "secret" not in text.replace("client_secret", "")


BAD_URLS: list[tuple[str, list[str]]] = [
    ("", ["no '://'", "smtp://host"]),
    ("mail.example.com", ["no '://'", "smtp://host", "host="]),
    ("mail.example.com:25", ["no '://'"]),
    ("user:secret@mail.example.com", ["no '://'"]),
    ("smpt://mail", ["unknown scheme 'smpt'", "did you mean 'smtp'?"]),
    ("smtp+tls://mail", ["unknown scheme 'smtp+tls'"]),
    ("http://mail", ["unknown scheme 'http'", "'smtp', 'smtp+starttls', 'smtps'"]),
    ("smtp://", ["'smtp://'", "no host"]),
    ("smtp://:25", ["'smtp://:25'", "no host"]),
    ("smtp://mail:smtp", ["'smtp://***' has a wrong port", "65535"]),
    ("smtp://mail:0", ["'smtp://mail:0'", "port"]),
    ("smtp://mail:65536", ["'smtp://mail:65536'", "port"]),
    ("smtp://mail:25:26", ["port"]),
    ("smtp://user:secret@mail:x", ["'smtp://***' has a wrong port"]),
    ("smtp://mail/path", ["path", "%2F"]),
    ("smtp://user:sec#ret@mail", ["%23"]),
    ("smtps://user:sec/ret@mail", ["%2F"]),
    ("smtp://mail?pool_siz=3", ["'pool_siz'", "'pool_size'"]),
    ("smtp://mail?pool_size=3&pool_size=4", ["pool_size more than once"]),
    ("smtp://mail?pool_size", ["pool_size must be an integer, got ''"]),
    ("smtp://mail?timeout=soon", ["timeout must be a number of seconds, got 'soon'"]),
    ("smtp://mail?pipelining=perhaps", ["pipelining must be True or False, got 'perhaps'"]),
    ("smtp://mail?ssl_context=x", ["ssl_context", "as an argument"]),
    ("smtp+starttls://mail?security=none", ["security", "once"]),
    ("smtps://user:x@mail?username=me", ["username", "once"]),
    ("smtp://mail:x?password=secret", ["'smtp://***' has a wrong port"]),
    ("smtp://mail?password=abc&hunter", ["unknown option after a password", "%26"]),
    ("smtp://user:12?secret@mail", ["%3F"]),
    ("smtp://user:%ff%fesecret@mail", ["UTF-8"]),
    ("smtp://one,two", ["port"]),
    ("smtp://user:secret@mail.example.com", ["in clear", "mail.example.com"]),
    ("smtp://mail\r\n", ["control character"]),
    ("smtp://ma il", ["white space"]),
    ("smtp://[::1", ["wrong IPv6 address", "[2001:db8::1]"]),
    ("lmtp+unix://run/lmtp", ["no socket", "lmtp+unix:///"]),
]


@pytest.mark.parametrize(("url", "words"), BAD_URLS, ids=[url for url, _ in BAD_URLS])
def test_the_error_for_a_wrong_url_says_what_is_wrong_and_how_to_write_it(
    url: str, words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer(url)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert "secret" not in text
    assert "sec#ret" not in text


@pytest.mark.parametrize("server", [5, b"smtp://mail", object(), [None], [5]], ids=stable_id)
def test_anything_else_than_a_server_is_refused(server: Any) -> None:
    with pytest.raises(ConfigurationError, match="a URL, Options, or a list of them, got"):
        Mailer(server)


# --- what they mean -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "protocol", "security", "port"),
    [
        ("smtp://mail", "smtp", "none", 25),
        ("smtp+starttls://mail", "smtp", "starttls", 587),
        ("smtps://mail", "smtp", "tls", 465),
        ("lmtp://mail", "lmtp", "none", 24),
        ("smtps://mail:2465", "smtp", "tls", 2465),
        ("SMTPS://mail", "smtp", "tls", 465),
    ],
)
def test_the_scheme_sets_protocol_security_and_port(
    url: str, protocol: str, security: str, port: int
) -> None:
    options = Options.from_url(url)
    assert (options.protocol, options.security, options.server_port) == (protocol, security, port)
    assert options.host == "mail"


def test_a_unix_socket_has_a_path() -> None:
    options = Options.from_url("lmtp+unix:///run/dovecot/lmtp%20socket")
    assert options.socket_path == "/run/dovecot/lmtp socket"
    assert options.server == "/run/dovecot/lmtp socket"


def test_user_and_password_are_percent_decoded() -> None:
    options = Options.from_url("smtps://a%40b.example:p%3A%2F%23%25@mail")
    assert (options.username, options.password) == ("a@b.example", Secret("p:/#%"))


def test_the_query_sets_any_other_option() -> None:
    options = Options.from_url(
        "smtp://mail?pool_size=8&timeout=2.5&deadline=none&pipelining=no&local_hostname=me.test"
        "&auth_mechanisms=plain,LOGIN&source_address=10.0.0.1:0"
    )
    assert options == Options(
        host="mail",
        pool_size=8,
        timeout=2.5,
        deadline=None,
        pipelining=False,
        local_hostname="me.test",
        auth_mechanisms=("PLAIN", "LOGIN"),
        source_address=("10.0.0.1", 0),
    )


def test_keyword_arguments_take_precedence_over_the_url() -> None:
    options = Options.from_url("smtp://mail?pool_size=8", pool_size=2)
    assert options.pool_size == 2
    assert Mailer("smtp://mail", pool_size=3).options.pool_size == 3


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1", "localhost", "[::1]:2525"])
def test_a_password_may_go_in_clear_on_this_machine(host: str) -> None:
    assert Options.from_url(f"smtp://user:secret@{host}").password == Secret("secret")


def test_equal_options_are_one_key() -> None:
    first, second = Options.from_url(SERVER), Options.from_url(SERVER)
    assert {first: 1}[second] == 1
    assert first.replace(pool_size=5) != first


def test_options_survive_copies_and_without_a_secret_also_pickling() -> None:
    options = Options.from_url(SERVER)
    assert copy.deepcopy(options) == copy.copy(options) == options
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(options)
    options = Options.from_url("smtp://mail?timeout=5")
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 - our own bytes


def test_a_change_is_checked_as_well() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        Options().replace(time_out=3)
    with pytest.raises(ConfigurationError, match="timeout must be more than 0"):
        Options().replace(timeout=0)


def test_nothing_connects_before_the_first_message() -> None:
    stats = Mailer("smtp://192.0.2.1").stats()
    assert (stats.pool.made, stats.pool.opening) == (0, 0)


# --- the values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        *[("pipelining", text, True) for text in ("true", "True", "1", "yes", "on", 1, True)],
        *[("pipelining", text, False) for text in ("false", "FALSE", "0", "no", "off", 0, False)],
        ("pool_size", "8", 8),
        ("port", " 25 ", 25),
        ("timeout", "2.5", 2.5),
        ("timeout", 5, 5.0),
        ("timeout", None, None),
        ("host", Lazy("mail.example.com"), "mail.example.com"),
        ("security", Lazy("starttls"), "starttls"),
        ("auth_mechanisms", ["plain", "Login"], ("PLAIN", "LOGIN")),
    ],
)
def test_values_may_be_text_from_the_environment(name: str, given: Any, value: Any) -> None:
    found = getattr(Options(**{name: given}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("given", ["123456", 123456, Lazy("123456"), Secret("123456")])
def test_user_name_and_password_may_be_numbers_and_lazy_strings(given: Any) -> None:
    user = "123456" if isinstance(given, Secret) else given
    options = Options(username=user, password=given)
    assert (options.username, options.password) == ("123456", Secret("123456"))
    assert options.credentials is not None


@pytest.mark.parametrize("given", [b"secret", 1.5, True, ["secret"]])
def test_a_password_that_is_not_text_is_refused_without_being_shown(given: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"password must be text, got .*in quotes"
    ) as caught:
        Options(username="me", password=given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("smtps://shop@example.com:word@mail", "shop@example.com", "word"),
        ("smtps://me:a:b@c@mail", "me", "a:b@c"),
        ("smtps://me:@mail", "me", ""),
        ("smtps://:word@mail", "", "word"),
        ("smtps://m%C3%A9:w%2Bx+y@mail", "mé", "w+x+y"),
        ("smtps://mail?username=me&password=a%26b+c", "me", "a&b+c"),
    ],
)
def test_user_names_and_passwords_in_urls(url: str, username: str, password: str) -> None:
    options = Options.from_url(url)
    assert (options.host, options.username, options.password) == (
        "mail",
        username,
        Secret(password),
    )


# --- the table ------------------------------------------------------------------------


def test_the_table_describes_each_option() -> None:
    table = Options.table()
    assert [*table, "wording"] == [field.name for field in dataclasses.fields(Options)]
    for name, option in table.items():
        assert option.name == name
        assert option.kind.label
        assert option.text.endswith(".")
        assert getattr(Options(), name) == option.default
    assert {name for name, option in table.items() if option.kind.is_secret} == {
        "client_secret",
        "dkim",
        "password",
        "rate_storage",
        "refresh_token",
        "token_provider",
    }
    assert table["timeout"].kind.label == "seconds"
    assert table["timeout"].accepts_none
    assert not table["pool_size"].accepts_none
