"""Options and URLs: what they mean, and what is said of those that cannot be right."""

from __future__ import annotations

import copy
import pickle
import ssl
from typing import Any

import pytest

from mailbackends import ConfigurationError, Mailer, Options

SERVER = "smtp+starttls://user:secret@mail.example.com"


# --- what is wrong, and the words for it ----------------------------------------------

# options -> what the text must hold: the name, the value, and the mend.
BAD_OPTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"pol_size": 3}, ["unknown option 'pol_size'", "did you mean 'pool_size'?"]),
    ({"zzz": 3}, ["unknown option 'zzz'", "known are host, port,"]),
    ({"use_tls": True}, ["'use_tls'", "security='starttls'"]),
    ({"use_ssl": True, "use_tls": True}, ["'use_ssl'", "security='tls'"]),
    ({"user": "me"}, ["'user'", "username"]),
    ({"port": "smtp"}, ["port='smtp'", "no whole number"]),
    ({"port": "25x"}, ["port='25x'", "no whole number"]),
    ({"port": 2.5}, ["port=2.5", "no whole number"]),
    ({"port": True}, ["port=True", "no whole number"]),
    ({"port": 0}, ["port=0", "from 1 to 65535"]),
    ({"port": 70000}, ["port=70000", "from 1 to 65535"]),
    ({"host": ""}, ["host", "empty", "leave it out"]),
    ({"host": None}, ["host=None", "a value is needed"]),
    ({"host": 5}, ["host", "text", "int"]),
    ({"host": "mail example"}, ["host='mail example'", "no host name"]),
    ({"host": "smtp://mail"}, ["host='smtp://mail'", "without port or path"]),
    ({"host": "mail:25"}, ["host='mail:25'", "without port"]),
    ({"host": "mail\r\nQUIT"}, [r"host='mail\r\nQUIT'", "control character", "take it out"]),
    ({"local_hostname": "me\nRSET"}, [r"local_hostname='me\nRSET'", "control character"]),
    ({"security": "ssl"}, ["security='ssl'", "'none', 'starttls', 'tls'"]),
    ({"security": None}, ["security=None", "needed"]),
    ({"protocol": "imap"}, ["protocol='imap'", "'smtp', 'lmtp'"]),
    ({"socket_path": "/run/lmtp"}, ["socket_path", "protocol='lmtp'"]),
    ({"timeout": 0}, ["timeout=0", "more than 0"]),
    ({"timeout": -1}, ["timeout=-1", "more than 0"]),
    ({"timeout": "soon"}, ["timeout='soon'", "seconds"]),
    ({"timeout": float("nan")}, ["timeout=nan", "out of range"]),
    ({"deadline": float("inf")}, ["deadline=inf", "out of range"]),
    ({"pool_size": 0}, ["pool_size=0", "1 or more"]),
    ({"pool_size": "two"}, ["pool_size='two'", "whole number"]),
    ({"max_messages_per_connection": 0}, ["max_messages_per_connection=0", "1 or more"]),
    ({"batch_connections": 9}, ["batch_connections=9", "pool_size=4", "raise pool_size"]),
    ({"pipelining": "maybe"}, ["pipelining='maybe'", "neither true nor false"]),
    ({"username": "me"}, ["username", "password", "token_provider"]),
    ({"password": "secret"}, ["password", "username", "give both"]),
    ({"token_provider": lambda: ""}, ["token_provider", "username", "give both"]),
    ({"username": "me", "token_provider": "t"}, ["token_provider", "callable", "str"]),
    (
        {"username": "me", "password": "secret", "host": "mail.example.com"},
        ["mail.example.com", "in clear", "security='starttls' or 'tls'", "allow_cleartext_auth"],
    ),
    ({"auth_mechanisms": "PLAIN"}, ["auth_mechanisms='PLAIN'", "list of names"]),
    ({"auth_mechanisms": 5}, ["auth_mechanisms=5", "list of names"]),
    ({"auth_mechanisms": ["SCRAM-SHA-255"]}, ["'SCRAM-SHA-255'", "'SCRAM-SHA-256'"]),
    ({"source_address": "10.0.0.1"}, ["source_address='10.0.0.1'", "pair of host and port"]),
    ({"source_address": ("10.0.0.1", 99999)}, ["source_address", "99999", "65535"]),
    ({"ssl_context": "yes"}, ["ssl_context", "ssl.SSLContext", "str"]),
    (
        {"ssl_context": ssl.create_default_context(), "ssl_cafile": "ca.pem"},
        ["ssl_context", "ssl_cafile", "contradict"],
    ),
    ({"ssl_keyfile": "key.pem"}, ["ssl_keyfile", "ssl_certfile", "give both"]),
    ({"ssl_cafile": "ca.pem"}, ["ssl_cafile='ca.pem'", "security='none'", "'starttls' or 'tls'"]),
    ({"ssl_certfile": "my.pem"}, ["ssl_certfile='my.pem'", "security='none'", "leave it out"]),
    ({"ssl_context": ssl.create_default_context()}, ["ssl_context=", "security='none'"]),
    ({"ssl_cafile": "/no/ca.pem", "security": "tls"}, ["ssl_cafile", "/no/ca.pem", "no file"]),
    ({"tls_minimum_version": "1.2", "security": "tls"}, ["'1.2'", "'TLSv1.2' or 'TLSv1.3'"]),
    ({"tls_minimum_version": "SSLv3", "security": "tls"}, ["'SSLv3' is too old", "use 'TLSv1.2'"]),
    ({"tls_minimum_version": "TLSv1", "security": "tls"}, ["'TLSv1' is too old", "use 'TLSv1.2'"]),
    ({"tls_minimum_version": "TLSv1.1", "security": "tls"}, ["too old", "'TLSv1.2' or 'TLSv1.3'"]),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=lambda value: repr(value)[:50])
def test_a_wrong_option_is_told_with_its_value_and_the_mend(
    options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer(**options)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert "secret" not in text


BAD_URLS: list[tuple[str, list[str]]] = [
    ("", ["no '://'", "smtp://host"]),
    ("mail.example.com", ["no '://'", "smtp://host", "host="]),
    ("mail.example.com:25", ["no '://'"]),
    ("user:secret@mail.example.com", ["no '://'"]),
    ("smpt://mail", ["URL scheme 'smpt'", "did you mean 'smtp'?"]),
    ("smtp+tls://mail", ["URL scheme 'smtp+tls'"]),
    ("http://mail", ["URL scheme 'http'", "smtp, smtp+starttls, smtps"]),
    ("smtp://", ["'smtp://'", "no host"]),
    ("smtp://:25", ["'smtp://:25'", "no host"]),
    ("smtp://mail:smtp", ["'smtp://mail:smtp'", "port", "65535"]),
    ("smtp://mail:0", ["'smtp://mail:0'", "port"]),
    ("smtp://mail:65536", ["'smtp://mail:65536'", "port"]),
    ("smtp://mail:25:26", ["port"]),
    ("smtp://user:secret@mail:x", ["'smtp://user:***@mail:x'", "port"]),
    ("smtp://mail/path", ["path", "%2F"]),
    ("smtp://user:sec#ret@mail", ["%23"]),
    ("smtps://user:sec/ret@mail", ["%2F"]),
    ("smtp://mail?pool_siz=3", ["'pool_siz'", "'pool_size'"]),
    ("smtp://mail?pool_size=3&pool_size=4", ["'pool_size'", "twice"]),
    ("smtp://mail?pool_size", ["pool_size=''", "whole number"]),
    ("smtp://mail?timeout=soon", ["timeout='soon'", "seconds"]),
    ("smtp://mail?pipelining=perhaps", ["pipelining='perhaps'"]),
    ("smtp://mail?ssl_context=x", ["ssl_context", "as an argument"]),
    ("smtp+starttls://mail?security=none", ["security", "once"]),
    ("smtps://user:x@mail?username=me", ["username", "once"]),
    ("smtp://mail:x?password=secret", ["password=***"]),
    ("smtp://user:secret@mail.example.com", ["in clear", "mail.example.com"]),
    ("smtp://mail\r\n", ["control character"]),
    ("smtp://ma il", ["white space"]),
    ("smtp://[::1", ["no URL"]),
    ("lmtp+unix://run/lmtp", ["no socket", "lmtp+unix:///"]),
]


@pytest.mark.parametrize(("url", "words"), BAD_URLS, ids=[url for url, _ in BAD_URLS])
def test_a_wrong_url_is_told_with_its_value_and_the_mend(url: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer(url)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert "secret" not in text
    assert "sec#ret" not in text


@pytest.mark.parametrize("server", [5, b"smtp://mail", object(), [None], [5]], ids=repr)
def test_what_is_no_server_is_refused(server: Any) -> None:
    with pytest.raises(ConfigurationError, match="a URL, Options"):
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
def test_the_scheme_tells_protocol_security_and_port(
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
    assert (options.username, options.password) == ("a@b.example", "p:/#%")


def test_the_query_holds_any_other_option() -> None:
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
    assert Options.from_url(f"smtp://user:secret@{host}").password == "secret"


def test_equal_options_are_one_key() -> None:
    first, second = Options.from_url(SERVER), Options.from_url(SERVER)
    assert {first: 1}[second] == 1
    assert first.replace(pool_size=5) != first


def test_options_survive_copies() -> None:
    options = Options.from_url(SERVER)
    assert copy.deepcopy(options) == options
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 - our own bytes


def test_a_change_is_checked_as_well() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        Options().replace(time_out=3)
    with pytest.raises(ConfigurationError, match="timeout=0"):
        Options().replace(timeout=0)


def test_nothing_connects_before_the_first_message() -> None:
    stats = Mailer("smtp://192.0.2.1").stats()
    assert (stats.pool.made, stats.pool.opening) == (0, 0)
