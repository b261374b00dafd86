"""Tokens from an endpoint on loopback: refresh tokens, Google's and Microsoft's libraries."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbackends import oauth
from mailbackends.errors import ConfigurationError, TokenError
from mailbackends.testing import certificates
from support.token_endpoint import TokenEndpoint

SECRET = "S3CRET-of-the-client"
REFRESH = "R3FRESH-token"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as endpoint:
        yield endpoint


def assert_no_secret_shows(error: BaseException) -> None:
    """Neither in its text nor in the variables of any frame but those of the test."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if frame.filename != __file__]
    assert frames
    shown = f"{report} {error!r} {[frame.locals for frame in frames]}"
    for secret in (SECRET, REFRESH, "token-1"):
        assert secret not in shown


def refreshing(endpoint: TokenEndpoint, **options: object) -> oauth.TokenProvider:
    return oauth.refresh_token(endpoint.url, "shop", SECRET, REFRESH, **options)  # type: ignore[arg-type]


def test_an_access_token_is_obtained_with_a_refresh_token(endpoint: TokenEndpoint) -> None:
    tokens = refreshing(endpoint, scope="mail")
    assert [tokens(), tokens()] == ["token-1", "token-1"]
    assert endpoint.forms == [
        {
            "grant_type": "refresh_token",
            "client_id": "shop",
            "client_secret": SECRET,
            "refresh_token": REFRESH,
            "scope": "mail",
        }
    ]


def test_a_replaced_refresh_token_is_used_and_handed_over(endpoint: TokenEndpoint) -> None:
    stored: list[str] = []
    endpoint.answers = [(200, {"refresh_token": "second"})]
    tokens = refreshing(endpoint, on_rotated=stored.append)
    assert tokens() == "token-1"
    tokens._clock = lambda: time.monotonic() + 3600
    assert tokens() == "token-2"
    assert stored == ["second"]
    assert [form["refresh_token"] for form in endpoint.forms] == [REFRESH, "second"]


def test_a_callback_that_raises_does_not_lose_the_token(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def store(token: str) -> None:
        raise OSError(f"cannot write {token}")

    endpoint.answers = [(200, {"refresh_token": "second"})]
    assert refreshing(endpoint, on_rotated=store)() == "token-1"
    assert "on_rotated raised OSError" in caplog.text
    assert "second" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "code", "is_transient", "text"),
    [
        ((400, {"error": "invalid_grant"}), "invalid_grant", False, "mailbackends oauth login"),
        (
            (401, {"error": "invalid_client", "error_description": f"bad {SECRET}"}),
            "invalid_client",
            False,
            r"bad \*\*\*",
        ),
        ((503, {}), "server_error", True, "server_error"),
        ((429, {"error": "too many"}), "server_error", True, "server_error"),
        ((200, {"access_token": ""}), "", False, "no usable access_token"),
        ((200, {"access_token": "two words"}), "", False, "no usable access_token"),
        ((200, {"token_type": "mac"}), "", False, "token_type must be Bearer, got 'mac'"),
        ((200, {"expires_in": -5}), "", False, "check the clock"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "", False, "without a JSON object: is '/token'"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", "server_error", True, "answered 502"),
        (b"HTTP/1.1 302 Go\r\nLocation: https://evil.example/\r\n\r\n", "", False, "answered 302"),
        (b"220 mail.example.com ESMTP\r\n", "unreachable", True, "token endpoint localhost"),
        (b"", "unreachable", True, "token endpoint localhost"),
    ],
    ids=str,
)
def test_each_error_of_an_endpoint_suggests_a_fix(
    endpoint: TokenEndpoint, answer: object, code: str, is_transient: bool, text: str
) -> None:
    endpoint.answers = [answer]  # type: ignore[list-item]
    with pytest.raises(TokenError, match=text) as caught:
        refreshing(endpoint)()
    assert (caught.value.code, caught.value.is_transient) == (code, is_transient)
    assert_no_secret_shows(caught.value)


def test_an_endpoint_that_does_not_answer_is_given_up_after_the_timeout(
    endpoint: TokenEndpoint,
) -> None:
    released = threading.Event()
    endpoint.answers = [lambda: released.wait(10) and None]  # type: ignore[list-item]
    try:
        with pytest.raises(TokenError, match="did not answer within") as caught:
            refreshing(endpoint, timeout=0.1)()
    finally:
        released.set()
    assert (caught.value.code, caught.value.is_transient) == ("timeout", True)


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with pytest.raises(TokenError, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
        oauth.refresh_token("http://127.0.0.1:1/token", "shop", SECRET, REFRESH)()
    assert caught.value.is_transient


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://login.example.com/token", "must begin with https://"),
        ("ftp://login.example.com/token", "must be an https URL"),
        ("login.example.com", "must be an https URL"),
        ("https://user:word@login.example.com/token", "without user name"),
    ],
)
def test_secrets_are_only_sent_over_tls(url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        oauth.refresh_token(url, "shop", SECRET, REFRESH)
    assert_no_secret_shows(caught.value)


def service_account(endpoint: TokenEndpoint, folder: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "key.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "client_email": "mailer@project.iam.gserviceaccount.com",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "token_uri": endpoint.url,
            }
        )
    )
    return path


def test_google_issues_a_token_for_the_subject(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    pytest.importorskip("google.auth")
    tokens = oauth.google(service_account(endpoint, tmp_path), "shop@example.com")
    assert [tokens(), tokens()] == ["token-1", "token-1"]
    assert endpoint.forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


def test_an_error_of_google_names_what_is_missing(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    pytest.importorskip("google.auth")
    endpoint.answers = [
        (401, {"error": "unauthorized_client", "error_description": "Client is unauthorized"})
    ]
    with pytest.raises(TokenError, match="domain-wide delegation") as caught:
        oauth.google(service_account(endpoint, tmp_path), "shop@example.com")()
    assert caught.value.code == "unauthorized_client"
    with pytest.raises(ConfigurationError, match="No such file"):
        oauth.google(tmp_path / "missing.json", "shop@example.com")
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="not a service account's key"):
        oauth.google(tmp_path / "wrong.json", "shop@example.com")


@pytest.fixture
def microsoft(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    pytest.importorskip("msal")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates.cafile())
    with TokenEndpoint(certificates.server_context()) as endpoint:
        yield endpoint


def test_microsoft_issues_a_token_for_a_client_secret(microsoft: TokenEndpoint) -> None:
    tokens = oauth.microsoft("contoso", "app-1", secret=SECRET, authority=microsoft.origin)
    assert [tokens(), tokens()] == ["token-1", "token-1"]
    form = microsoft.forms[0]
    assert form["grant_type"] == "client_credentials"
    assert form["scope"] == "https://outlook.office365.com/.default"
    assert (form["client_id"], form["client_secret"]) == ("app-1", SECRET)


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("AADSTS700016: Application with identifier", "check client_id and tenant"),
        ("AADSTS7000215: Invalid client secret provided", "not its Secret ID"),
        ("AADSTS7000222: The provided client secret keys are expired", "create a new one"),
        ("AADSTS90002: Tenant 'x' not found.", "give its id or a verified domain"),
        ("AADSTS50034: The user account does not exist", "check username and tenant"),
    ],
)
def test_microsofts_errors_suggest_a_fix(
    microsoft: TokenEndpoint, description: str, text: str
) -> None:
    microsoft.answers = [
        (401, {"error": "invalid_client", "error_description": f"{description} Trace ID: 4"})
    ]
    tokens = oauth.microsoft("contoso", "app-1", secret=SECRET, authority=microsoft.origin)
    with pytest.raises(TokenError, match=text) as caught:
        tokens()
    assert "Trace ID" not in str(caught.value)
    assert_no_secret_shows(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "got none"),
        ({"secret": "x", "managed_identity": True}, "got secret and managed_identity"),
        ({"certificate": "/nowhere/key.pem"}, "No such file"),
    ],
    ids=str,
)
def test_microsoft_needs_one_credential(options: dict[str, object], text: str) -> None:
    pytest.importorskip("msal")
    with pytest.raises(ConfigurationError, match=text):
        oauth.microsoft("contoso", "app-1", **options)  # type: ignore[arg-type]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "msal", None)
    with pytest.raises(ConfigurationError, match=r'pip install "mailbackends\[microsoft\]"'):
        oauth.microsoft("contoso", "app-1", secret="x")


@pytest.mark.parametrize("kind", ["refresh_token", "microsoft"])
def test_no_token_is_kept_in_a_file(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider's library may have its own cache, which is not used."""
    given = request.getfixturevalue("endpoint" if kind == "refresh_token" else "microsoft")
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if kind == "refresh_token":
        tokens = refreshing(given)
    else:
        tokens = oauth.microsoft("contoso", "app-1", secret=SECRET, authority=given.origin)
    assert tokens() == "token-1"
    assert [*tmp_path.rglob("*")] == []
