"""`mailbackends oauth login`: the device flow, and a browser on this machine."""

from __future__ import annotations

import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mailbackends.errors import TokenError
from mailbackends.oauth.login import Client, device_flow, loopback_flow
from mailbackends.secret import Secret
from support.token_endpoint import TokenEndpoint


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as endpoint:
        yield endpoint


def client(endpoint: TokenEndpoint) -> Client:
    return Client(endpoint.url, "shop", "mail offline_access", Secret("S3CRET"))


DEVICE = {"device_code": "d", "user_code": "ABCD", "verification_uri": "https://id.example/d"}
PENDING = (400, {"error": "authorization_pending"})


def test_the_device_flow_waits_until_the_code_was_entered(endpoint: TokenEndpoint) -> None:
    shown: list[tuple[str, str]] = []
    waits: list[float] = []
    endpoint.answers = [
        (200, {**DEVICE, "interval": 1}),
        PENDING,
        (400, {"error": "slow_down"}),
        (200, {"refresh_token": "R3FRESH"}),
    ]
    token = device_flow(
        client(endpoint), endpoint.url, lambda *what: shown.append(what), sleep=waits.append
    )
    assert token == Secret("R3FRESH")
    assert shown == [("https://id.example/d", "ABCD")]
    assert waits == [1, 1, 6]
    assert endpoint.forms[1]["device_code"] == "d"


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([(401, {"error": "invalid_client"})], "client_id or client_secret is wrong"),
        ([(200, DEVICE), (400, {"error": "access_denied"})], "access_denied"),
        ([(200, DEVICE), (400, {"error": "expired_token"})], "expired_token"),
        ([(200, DEVICE), (200, {})], "add offline_access"),
    ],
    ids=str,
)
def test_a_device_flow_that_fails_says_why(
    endpoint: TokenEndpoint, answers: list[tuple[int, dict[str, object]]], text: str
) -> None:
    endpoint.answers = list(answers)
    with pytest.raises(TokenError, match=text):
        device_flow(client(endpoint), endpoint.url, lambda *what: None, sleep=lambda seconds: None)


def browse(url: str, **answer: str) -> int:
    """Be the browser that the authorization endpoint redirects."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    answer.setdefault("state", query["state"])
    target = query["redirect_uri"] + "?" + "&".join(f"{k}={v}" for k, v in answer.items())
    try:
        with urllib.request.urlopen(target, timeout=10) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_browser_brings_the_code_which_is_bound_to_this_process(endpoint: TokenEndpoint) -> None:
    endpoint.answers = [(200, {"refresh_token": "R3FRESH"})]
    statuses: list[int] = []

    def show(url: str) -> None:
        def visit() -> None:
            statuses.append(browse(url, code="stolen", state="guessed"))
            statuses.append(browse(url, code="c0de"))

        threading.Thread(target=visit).start()

    token = loopback_flow(client(endpoint), f"{endpoint.origin}/authorize", show, timeout=10)
    assert token == Secret("R3FRESH")
    assert endpoint.forms[0]["code"] == "c0de"
    assert len(endpoint.forms[0]["code_verifier"]) >= 43
    assert statuses[0] == 400


def test_a_sign_in_that_was_denied_or_forgotten_is_an_error(endpoint: TokenEndpoint) -> None:
    def deny(url: str) -> None:
        threading.Thread(target=browse, args=(url,), kwargs={"error": "access_denied"}).start()

    with pytest.raises(TokenError, match="the sign-in failed: access_denied"):
        loopback_flow(client(endpoint), f"{endpoint.origin}/authorize", deny, timeout=10)
    with pytest.raises(TokenError, match="no sign-in"):
        loopback_flow(
            client(endpoint), f"{endpoint.origin}/authorize", lambda url: None, timeout=0.05
        )


def test_the_command_stores_the_token_for_its_owner_alone(
    endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    runner = pytest.importorskip("click.testing").CliRunner()
    from mailbackends.cli.commands import mailbackends

    endpoint.answers = [(200, {**DEVICE, "interval": 0}), (200, {"refresh_token": "R3FRESH"})]
    path = tmp_path / "token"
    given = ["oauth", "login", "other", "--client-id", "shop", "--scope", "mail", "--output"]
    urls = ["--token-url", endpoint.url, "--device-url", endpoint.url]
    done = runner.invoke(mailbackends, [*given, str(path), *urls])
    assert done.exit_code == 0, done.output
    assert "Open https://id.example/d and enter ABCD" in done.output
    assert "R3FRESH" not in done.output
    assert path.read_text() == "R3FRESH\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = runner.invoke(mailbackends, [*given, str(path)])
    assert done.exit_code == 2
    assert "needs --token-url" in done.output
