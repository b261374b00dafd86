"""The documentation site: generated pages are up to date, and no public name is missing."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType

import pytest
from project.source import PACKAGES, ROOT

from support.server import MailServer

DOCS = ROOT / "docs"
REFERENCE = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
# Names of smtplib that are constants: `import mailbackends as smtplib` needs them, and their
# documentation is the standard library's.
_CONSTANTS = {"CRLF", "bCRLF", "SMTP_PORT", "SMTP_SSL_PORT", "LMTP_PORT", "OLDSTYLE_AUTH"}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["options_page.py", "providers_page.py"])
def test_each_generated_page_is_up_to_date(name: str) -> None:
    generator = load(DOCS / "_ext" / name)
    assert generator.PAGE.read_text("utf-8") == generator.page(), f"run `python docs/_ext/{name}`"


def test_the_page_of_options_has_each_option_once() -> None:
    from mailbackends import Options

    page = (DOCS / "reference" / "options.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(Options.known())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    pytest.importorskip({"mailbackends": "email"}.get(package, package.partition("_")[0]))
    missing = {
        name
        for name in importlib.import_module(package).__all__
        if not re.search(rf"\b{name}\b", REFERENCE)
    }
    # automodule documents the exceptions without naming them in the page.
    errors = importlib.import_module(f"{package}.errors")
    assert missing - _CONSTANTS - set(vars(errors)) == set()


def samples(page: str) -> dict[str, str]:
    text = (DOCS / "coming-from" / page).read_text("utf-8")
    return dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", ["before_aiosmtplib", "after_aiosmtplib"])
def test_the_page_on_aiosmtplib_sends_before_and_after(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiosmtplib")
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    message["Subject"] = "Your order"
    message.set_content("It is on its way.")
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.cafile)
        code = samples("aiosmtplib.md")[name]
        code = code.replace("smtp.example.com", server.host).replace("587", str(server.port))
        names: dict[str, object] = {}
        exec(compile(code, name, "exec"), names)  # noqa: S102

        async def main() -> None:
            confirm = names["confirm"]
            assert callable(confirm)
            result = await confirm(message)
            if mailer := names.get("mailer"):
                assert result == (("ada@example.com",), {})
                await mailer.close()  # type: ignore[attr-defined]

        asyncio.run(main())
    assert server.message.rcpt_tos == ("ada@example.com",)


def test_each_system_check_has_an_id_of_its_own() -> None:
    ids = [
        found
        for path in (ROOT / "django_integration").rglob("checks.py")
        for found in set(re.findall(r'id="(mailbackends\.[EW]\d{3})"', path.read_text("utf-8")))
    ]
    assert len(ids) >= 15
    assert sorted(set(ids)) == sorted(ids)
