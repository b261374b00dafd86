"""`mailbackends` itself: its names are there, and are loaded when they are asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import mailbackends


@pytest.mark.parametrize("name", mailbackends.__all__)
def test_each_public_name_is_found_and_stands_in_one_listed_module(name: str) -> None:
    homes = [
        module
        for module in mailbackends._MODULES
        if name in importlib.import_module(f"mailbackends.{module}").__all__
    ]
    assert homes, name
    assert getattr(mailbackends, name) is getattr(
        importlib.import_module(f"mailbackends.{homes[0]}"), name
    )
    assert name in dir(mailbackends)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'SMPT'"):
        mailbackends.SMPT  # noqa: B018


def test_a_star_import_brings_all_of_smtplib() -> None:
    names: dict[str, object] = {}
    exec("from mailbackends import *", names)  # noqa: S102
    assert names.keys() >= {"SMTP", "SMTP_SSL", "SMTPException", "quoteaddr", "Mailer"}


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys, mailbackends; print([m for m in sys.modules if m.startswith('mailb')])"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "['mailbackends']"
