"""Known providers: the presets, and the doctor's notes."""

from __future__ import annotations

import re

import pytest

from mailbackends import ConfigurationError, Options
from mailbackends.doctor.diagnosis import _Diagnosis
from mailbackends.providers import Provider, provider_of, providers

ALL = [pytest.param(provider, id=key) for key, provider in providers().items()]


@pytest.mark.parametrize("provider", ALL)
def test_each_preset_makes_options_whose_port_fits_its_tls(provider: Provider) -> None:
    given = {"region": "eu-west-1"} if "{region}" in provider.host else {}
    given |= {"host": "mail.example.com"} if "{host}" in provider.host else {}
    options = Options.preset(provider.key, **given)
    assert options.port == provider.port
    assert provider.hint(options.server_port, options.security) is None
    assert "{" not in options.host
    if "{host}" not in provider.host:
        assert provider_of(options.host) is provider


@pytest.mark.parametrize("provider", ALL)
def test_each_provider_has_a_source_and_a_month(provider: Provider) -> None:
    assert provider.source.startswith("https://")
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", provider.read)
    assert provider.quirks.endswith(".")
    assert provider.limits.endswith(".")


def test_options_given_take_precedence_over_those_of_the_preset() -> None:
    options = Options.preset("microsoft365", rate="10/minute")
    assert (options.rate, options.pool_size) == ("10/minute", 3)


def test_the_user_name_that_is_the_same_for_everybody_is_filled_in() -> None:
    options = Options.preset("sendgrid", password="SG.key")
    assert options.username == "apikey"
    assert "SG.key" not in repr(options)


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("postmrk", {}, "unknown provider 'postmrk': did you mean 'postmark'?"),
        ("ses", {}, "the preset 'ses' needs region: Options.preset('ses', region='...')"),
        ("postfix", {}, "the preset 'postfix' needs host: Options.preset('postfix', host='...')"),
        ("brevo", {"region": "eu"}, "the preset 'brevo' takes no region: remove it"),
    ],
)
def test_a_preset_that_cannot_be_used_is_explained(
    name: str, given: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options.preset(name, **given)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("email-smtp.us-east-1.amazonaws.com", "ses"),
        ("SMTP.eu.mailgun.org.", "mailgun"),
        ("smtppro.zoho.eu", "zoho"),
        ("smtp-mail.outlook.com", "microsoft365"),
        ("mail.example.com", None),
        ("amazonaws.com", None),
    ],
)
def test_a_host_is_known_by_its_name(host: str, key: str | None) -> None:
    found = provider_of(host)
    assert (found and found.key) == key


@pytest.mark.parametrize(
    ("host", "port", "security", "step", "added"),
    [
        ("smtp.fastmail.com", 587, "starttls", "greeting",
         ". Fastmail has no STARTTLS: use TLS from the first byte, port 465"),
        ("smtp.office365.com", 465, "tls", "connect",
         ". Microsoft 365 has no TLS from the first byte: use STARTTLS, port 587"),
        ("smtp.resend.com", 587, "tls", "TLS",
         ". Resend has TLS from the first byte on port 465 or 2465"),
        ("smtp.sendgrid.net", 587, "starttls", "login",
         ". SendGrid takes the word `apikey` as user name, and an API key with the permission "
         "Mail Send as password"),
        ("smtp.sendgrid.net", 587, "starttls", "EHLO", ""),
        ("mail.example.com", 587, "starttls", "login", ""),
    ],
)  # fmt: skip
def test_the_doctor_adds_a_note_about_the_provider(
    host: str, port: int, security: str, step: str, added: str
) -> None:
    options = Options.from_mapping({"host": host, "port": port, "security": security})
    assert _Diagnosis(options).with_provider(step, "failed") == f"failed{added}"
