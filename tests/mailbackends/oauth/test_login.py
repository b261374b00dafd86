"""Tokens in real logins: a server that checks them, and a Mailer over it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbackends import Mailer, Options, Outcome, SMTPAuthenticationError, TokenError, diagnose
from mailbackends.known_errors import KNOWN
from mailbackends.oauth import AccessToken, TokenProvider
from mailbackends.secret import Secret
from mailbackends.wording import MAILER
from support.sink import Sink


class Server:
    """A sink that accepts XOAUTH2 with the tokens in ``valid``."""

    def __init__(self) -> None:
        self.valid: set[str] = set()
        self.seen: list[str] = []
        self.sink = Sink(sasl={"XOAUTH2": self._play})

    def _play(self, ask: Callable[[bytes], bytes], initial: bytes | None) -> bool:
        user, token, *_ = (initial or b"").decode().split("\1")
        assert user == "user=shop@example.com"
        self.seen.append(token.removeprefix("auth=Bearer "))
        if self.seen[-1] in self.valid:
            return True
        ask(b'{"status":"401","schemes":"bearer"}')
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.sink:
        yield server


class Issuer:
    """Issues tokens that the server accepts."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.issued = 0
        self.now = 0.0
        self.error: TokenError | None = None
        self.provider = TokenProvider(self, identity="shop", clock=lambda: self.now)

    def __call__(self) -> AccessToken:
        if self.error is not None:
            raise self.error
        self.issued += 1
        self.server.valid.add(f"token-{self.issued}")
        return AccessToken(Secret(f"token-{self.issued}"), 3600.0)


def mailer(server: Server, provider: Callable[[], str], **options: object) -> Mailer:
    return Mailer(server.sink.url, username="shop@example.com", token_provider=provider, **options)


def message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    message.set_content("It is on its way.")
    return message


def test_all_connections_share_a_token(server: Server) -> None:
    issuer = Issuer(server)
    with mailer(server, issuer.provider, max_messages_per_connection=1) as sending:
        for _ in range(5):
            sending.send_message(message())
    assert server.seen == ["token-1"] * 5
    assert issuer.issued == 1


def test_a_token_that_expires_in_the_middle_of_a_batch_is_replaced(server: Server) -> None:
    issuer = Issuer(server)

    def messages() -> Iterator[EmailMessage]:
        for number in range(6):
            if number == 3:
                issuer.now += 3600
                server.valid.clear()
            yield message()

    with mailer(server, issuer.provider, max_messages_per_connection=1) as sending:
        outcomes = [each.outcome for each in sending.stream_messages(messages())]
    assert outcomes == [Outcome.ACCEPTED] * 6
    assert server.seen == ["token-1"] * 3 + ["token-2"] * 3


def test_a_revoked_token_costs_one_more_attempt(server: Server) -> None:
    issuer = Issuer(server)
    with mailer(server, issuer.provider, max_messages_per_connection=1) as sending:
        sending.send_message(message())
        server.valid.clear()
        issuer.now += 120
        sending.send_message(message())
    assert server.seen == ["token-1", "token-1", "token-2"]


def test_a_login_refused_with_a_new_token_names_the_user_and_does_not_ask_for_more_tokens(
    server: Server,
) -> None:
    issuer = Issuer(server)
    issuer.provider()
    server.valid.clear()
    with mailer(server, issuer.provider) as sending:
        for _ in range(3):
            with pytest.raises(SMTPAuthenticationError, match=r"as shop@example\.com refused"):
                sending.send_message(message())
    assert issuer.issued == 1


def test_without_a_token_the_message_is_not_sent(server: Server) -> None:
    issuer = Issuer(server)
    issuer.error = TokenError("no access token for shop: the secret has expired", "invalid_client")
    with mailer(server, issuer.provider) as sending:
        with pytest.raises(TokenError, match="the secret has expired") as caught:
            sending.send_message(message())
        assert sending.stats().pool.in_use == 0
    assert (caught.value.outcome, caught.value.is_transient) == (Outcome.NOT_SENT, False)
    assert caught.value.server == f"127.0.0.1:{server.sink.port}"


def jwt(**claims: object) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def diagnosed(server: Server, provider: Callable[[], str]) -> dict[str, object]:
    options = Options.from_url(
        server.sink.url, username="shop@example.com", token_provider=provider
    )
    return {step.name: step for step in diagnose(options)}


def test_the_doctor_shows_what_a_token_is_for_but_not_the_token(server: Server) -> None:
    token = jwt(aud="https://outlook.office365.com", roles=["Mail.Send"], exp=time.time() + 1800)
    server.valid.add(token)
    steps = diagnosed(server, lambda: token)
    step = steps["token"]
    assert step.findings == (  # type: ignore[attr-defined]
        "audience: https://outlook.office365.com",
        "roles: Mail.Send",
        "expires in 30 minutes",
    )
    assert "SMTP.SendAsApp is missing" in step.warnings[0]  # type: ignore[attr-defined]
    assert token not in str(steps)
    assert steps["login"].is_ok  # type: ignore[attr-defined]


def test_the_doctor_stops_where_no_token_is_issued(server: Server) -> None:
    issuer = Issuer(server)
    issuer.error = TokenError("no access token for shop: AADSTS7000222: expired: renew it", "x")
    steps = diagnosed(server, issuer.provider)
    assert list(steps)[-1] == "token"
    assert "AADSTS7000222" in steps["token"].error  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
         "Tenant.", "Set-CASMailbox"),
        ("535 5.7.3 Authentication unsuccessful [AM0PR]", "New-ServicePrincipal"),
        ("550 5.7.30 Basic authentication is not supported for Client Submission.", "OAuth"),
        ("534 5.7.9 Application-specific password required. gsmtp", "app password"),
        ("535 5.7.8 Username and Password not accepted. - gsmtp", "token's subject"),
    ],
)  # fmt: skip
def test_a_login_that_a_provider_refuses_comes_with_a_fix(reply: str, words: str) -> None:
    error = SMTPAuthenticationError(int(reply[:3]), reply[4:].encode())
    assert words in error.what


def test_the_page_quotes_what_the_doctor_shows() -> None:
    page = (Path(__file__).parents[3] / "docs" / "oauth.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"\| (?:token|login) \| `(\S+(?: [0-9.]+)?) \.\.\.: (.*?)(?: \.\.\.)?` \|", page
    )
    assert len(rows) >= 8
    for text, quoted in rows:
        known = next(each for each in KNOWN if each.text.startswith(text))
        assert quoted in MAILER.render(known.fix), text
