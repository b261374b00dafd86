"""What can be imported, and how it is called: all that the standard library has."""

from __future__ import annotations

import inspect
import pickle
import smtplib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mailbackends
import mailbackends.errors
from support.conformance import OURS, THEIRS

CLASSES = ("SMTP", "SMTP_SSL", "LMTP")
CONSTANTS = ("SMTP_PORT", "SMTP_SSL_PORT", "LMTP_PORT", "CRLF", "bCRLF")
EXCEPTIONS = [
    name
    for name, value in vars(smtplib).items()
    if isinstance(value, type) and issubclass(value, Exception)
]
METHODS = [
    (kind, name)
    for kind in CLASSES
    for name, value in inspect.getmembers(getattr(smtplib, kind), inspect.isfunction)
    if not name.startswith("_") or name in ("__init__", "_get_socket", "_rset", "_print_debug")
]
ATTRIBUTES = (
    "debuglevel",
    "sock",
    "file",
    "helo_resp",
    "ehlo_msg",
    "ehlo_resp",
    "does_esmtp",
    "default_port",
)


@pytest.mark.parametrize("name", [*smtplib.__all__, *CLASSES, *CONSTANTS, "OLDSTYLE_AUTH"])
def test_each_name_can_be_imported_from_the_package(name: str) -> None:
    assert getattr(mailbackends, name) is getattr(OURS, name)


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_constants_are_the_same(name: str) -> None:
    assert getattr(OURS, name) == getattr(smtplib, name)


def test_the_pattern_for_old_auth_is_the_same() -> None:
    assert OURS.OLDSTYLE_AUTH == smtplib.OLDSTYLE_AUTH


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_is_a_subclass_of_the_one_of_the_same_name(name: str) -> None:
    ours, theirs = getattr(OURS, name), getattr(smtplib, name)
    assert issubclass(ours, theirs)
    assert ours is not theirs
    assert {base.__name__ for base in theirs.__mro__} <= {base.__name__ for base in ours.__mro__}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SMTPException", ("text",)),
        ("SMTPServerDisconnected", ("text",)),
        ("SMTPNotSupportedError", ("text",)),
        ("SMTPResponseException", (550, b"text")),
        ("SMTPConnectError", (550, b"text")),
        ("SMTPHeloError", (550, b"text")),
        ("SMTPAuthenticationError", (550, b"text")),
        ("SMTPDataError", (550, b"text")),
        ("SMTPSenderRefused", (550, b"text", "a@b.test")),
        ("SMTPRecipientsRefused", ({"a@b.test": (550, b"text")},)),
    ],
)
def test_an_exception_has_the_same_attributes_and_text(name: str, args: tuple[Any, ...]) -> None:
    ours, theirs = getattr(OURS, name)(*args), getattr(THEIRS, name)(*args)
    assert ours.args == theirs.args
    assert str(ours) == str(theirs)
    assert repr(ours) == repr(theirs)
    for attribute in ("smtp_code", "smtp_error", "sender", "recipients", "errno", "strerror"):
        assert getattr(ours, attribute, None) == getattr(theirs, attribute, None)
    again = pickle.loads(pickle.dumps(ours))  # noqa: S301
    assert (type(again), again.args, str(again)) == (type(ours), ours.args, str(ours))


def parameters(function: Any) -> list[Any]:
    """Names, kinds and defaults: all that a caller can rely on."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


# Python 3.11 still has keyfile and certfile in these.
UNTIL_311 = {("SMTP_SSL", "__init__"), *((kind, "starttls") for kind in CLASSES)}


@pytest.mark.parametrize(
    ("kind", "name"),
    [case for case in METHODS if sys.version_info >= (3, 12) or case not in UNTIL_311],
)
def test_each_method_is_called_in_the_same_way(kind: str, name: str) -> None:
    theirs = parameters(getattr(getattr(smtplib, kind), name))
    assert parameters(getattr(getattr(OURS, kind), name)) == theirs


@pytest.mark.parametrize("kind", CLASSES)
def test_the_attributes_of_the_class_are_the_same(kind: str) -> None:
    """docs/smtplib.md: `file`"""
    ours, theirs = getattr(OURS, kind), getattr(smtplib, kind)
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    options: Any = {"local_hostname": "client.test"}
    gone = {"keyfile", "certfile"}
    assert vars(theirs(**options)).keys() - gone <= set(dir(ours(**options)))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_new_client_has_the_same_attributes(kind: str) -> None:
    given: Any = {"local_hostname": "a.test", "timeout": 3, "source_address": ("127.0.0.1", 0)}
    ours, theirs = getattr(OURS, kind)(**given), getattr(smtplib, kind)(**given)
    for name in (
        "timeout",
        "local_hostname",
        "source_address",
        "esmtp_features",
        "command_encoding",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_smtp_ssl_and_lmtp_are_smtp() -> None:
    assert issubclass(OURS.SMTP_SSL, OURS.SMTP)
    assert issubclass(OURS.LMTP, OURS.SMTP)


@pytest.mark.parametrize(
    "address",
    [
        "a@b.test",
        "A <a@b.test>",
        "<a@b.test>",
        "<>",
        "",
        " ",
        "a",
        "@",
        "<a",
        '"a b"@c.test',
        "a@b.test, c@d.test",
        "é@b.test",
        "a@[127.0.0.1]",
        "A (comment) <a@b.test>",
        " <x> ",
    ],
)
def test_quoteaddr_is_the_same(address: str) -> None:
    assert OURS.quoteaddr(address) == smtplib.quoteaddr(address)


@example("a.b+c_d'=/e@x-y.z_9.test")
@example("a.@b")
@example("a@b.")
@example("a..b@c")
@example("a@b@c")
@given(st.text("aZ0.@-_+!#'=?^`{|}~/é\u0660 <>\"(),:;[]\\\n", max_size=12))
def test_quoteaddr_is_the_same_for_any_text(address: str) -> None:
    assert OURS.quoteaddr(address) == smtplib.quoteaddr(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a",
        "a\n",
        "a\r",
        "a\r\n",
        "\n.",
        "\r.",
        "\r\n.",
        "\n\r.\r\r\n.",
        "..\n..",
        "é\n.",
        "a\n\n\n.b",
        ".\r",
        "\x0b.\x0c.\x1c.\u2028.",
    ],
)
def test_quotedata_is_the_same(text: str) -> None:
    assert OURS.quotedata(text) == smtplib.quotedata(text)


def test_without_the_module_ssl_the_client_cannot_be_imported() -> None:
    """docs/smtplib.md: `needs-ssl`"""
    program = (
        "import sys; sys.modules['ssl'] = sys.modules['_ssl'] = None\n"
        "import smtplib; smtplib.SMTP; assert not hasattr(smtplib, 'SMTP_SSL')\n"
        "import mailbackends\n"
        "try: mailbackends.SMTP\n"
        "except ImportError: print('as documented')\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "as documented\n", done.stderr
