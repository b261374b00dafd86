"""The public names of `mailbackends`: all are found, and loaded only when they are used."""

from __future__ import annotations

import importlib
import smtplib
import subprocess
import sys

import pytest

import mailbackends


@pytest.mark.parametrize("name", sorted(mailbackends._MODULE_OF))
def test_each_name_comes_from_the_module_listed_for_it(name: str) -> None:
    module = importlib.import_module(f"mailbackends.{mailbackends._MODULE_OF[name]}")
    assert name in module.__all__
    assert getattr(mailbackends, name) is getattr(module, name)
    assert name in dir(mailbackends)


def test_what_is_exported_is_what_users_need() -> None:
    assert set(mailbackends.__all__) <= mailbackends._MODULE_OF.keys()
    assert 30 <= len(mailbackends.__all__) <= 45


@pytest.mark.parametrize(
    "name", [*smtplib.__all__, "LMTP", "CRLF", "bCRLF", "OLDSTYLE_AUTH", "SMTP_PORT"]
)
def test_each_name_of_smtplib_is_there(name: str) -> None:
    assert hasattr(mailbackends, name)
    assert name in dir(mailbackends)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'SMPT'"):
        mailbackends.SMPT  # noqa: B018


def test_a_star_import_brings_what_is_exported() -> None:
    names: dict[str, object] = {}
    exec("from mailbackends import *", names)  # noqa: S102
    assert names.keys() >= {"SMTP", "SMTP_SSL", "SMTPException", "Mailer"}


def _printed_by(code: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys, mailbackends; print([m for m in sys.modules if m.startswith('mailb')])"
    assert _printed_by(code) == "['mailbackends']"


@pytest.mark.parametrize("module", ["mailbackends", "mailbackends.client"])
@pytest.mark.parametrize("before", ["", "import smtplib as standard; "])
def test_it_may_take_the_place_of_smtplib_before_any_name_was_used(
    before: str, module: str
) -> None:
    code = (
        f"import sys; {before}import {module}\n"
        f"sys.modules['smtplib'] = sys.modules[{module!r}]\n"
        "import smtplib\n"
        "print(smtplib.SMTP.__module__)\n"
        "from mailbackends import SMTPException\n"
        "print([kind.__module__ for kind in SMTPException.__mro__[:2]])\n"
        "from mailbackends import Mailer\n"
    )
    assert _printed_by(code).splitlines() == [
        "mailbackends.client.smtp",
        "['mailbackends.outcome', 'smtplib']",
    ]
