"""Get a refresh token once, with a person at a browser."""

from __future__ import annotations

import base64
import hashlib
import http.server
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from mailbackends.errors import TokenError
from mailbackends.oauth.endpoint import Answer, check_url, post_form, refusal
from mailbackends.secret import Secret
from mailbackends.texts import one_line

__all__ = ["Client", "device_flow", "loopback_flow"]

# RFC 8628 section 3.2: the interval where the endpoint gives none, in seconds.
_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth 2.0 client and the scope to ask for."""

    token_url: str
    client_id: str
    scope: str
    client_secret: Secret | None = None

    def fields(self) -> dict[str, str | Secret]:
        """What every request to the token endpoint has."""
        found: dict[str, str | Secret] = {"client_id": self.client_id}
        if self.client_secret is not None:
            found["client_secret"] = self.client_secret
        return found


def device_flow(
    client: Client,
    device_url: str,
    show: Callable[[str, str], object],
    *,
    timeout: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Secret:
    """The refresh token from the device authorization grant (RFC 8628).

    ``show`` is called with the URL to open and the code to enter there.

    Raises:
        TokenError: the request was denied, or its code has expired.
    """
    check_url(device_url, "device_url")
    fields = {**client.fields(), "scope": client.scope}
    status, answer = post_form(device_url, fields, timeout=timeout)
    if status != 200 or "device_code" not in answer:
        raise _refused(client, answer)
    code = Secret(str(answer["device_code"]))
    place = answer.get("verification_uri") or answer.get("verification_url") or ""
    show(one_line(str(place)), one_line(str(answer.get("user_code", ""))))
    interval = float(answer.get("interval", _INTERVAL))
    fields = {
        **client.fields(),
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": code,
    }
    while True:
        sleep(interval)
        status, answer = post_form(client.token_url, fields, timeout=timeout)
        match answer.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                interval += _INTERVAL
                continue
        return _refresh_token(client, status, answer)


def loopback_flow(
    client: Client,
    authorize_url: str,
    show: Callable[[str], object],
    *,
    timeout: float = 300.0,
) -> Secret:
    """The refresh token from the authorization code grant with a redirect to this machine.

    See RFC 8252 section 7.3; the code is bound by PKCE (RFC 7636). ``show`` is called with
    the URL to open in a browser of this machine. ``timeout`` is the longest wait for it.

    Raises:
        TokenError: the request was denied, or it was not answered in time.
    """
    check_url(authorize_url, "authorize_url")
    verifier, state = Secret(secrets.token_urlsafe(48)), secrets.token_urlsafe(24)
    digest = hashlib.sha256(verifier.reveal().encode()).digest()
    with _Receiver(("127.0.0.1", 0), state) as receiver:
        redirect = f"http://127.0.0.1:{receiver.server_port}/"
        query = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": redirect,
            "scope": client.scope,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            # Google issues a refresh token only on these terms.
            "access_type": "offline",
            "prompt": "consent",
        }
        show(f"{authorize_url}{'&' if '?' in authorize_url else '?'}{urlencode(query)}")
        code = receiver.code(timeout)
    fields = {
        **client.fields(),
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "code_verifier": verifier,
    }
    return _refresh_token(client, *post_form(client.token_url, fields, timeout=30.0))


class _Receiver(http.server.HTTPServer):
    """Waits on loopback for the browser to bring the code."""

    def __init__(self, address: tuple[str, int], state: str) -> None:
        super().__init__(address, _Handler)
        self.state = state
        self.found: Secret | TokenError | None = None

    def code(self, timeout: float) -> Secret:
        latest = time.monotonic() + timeout
        while self.found is None:
            self.timeout = latest - time.monotonic()
            if self.timeout <= 0:
                raise TokenError(f"no sign-in within {timeout:g} s: start again", "timeout")
            self.handle_request()
        if isinstance(self.found, TokenError):
            raise self.found
        return self.found


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Receiver
    timeout = 10  # seconds that a silent client may keep the others waiting

    def do_GET(self) -> None:
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        # Any page may make a browser call this port: only the answer to our request counts.
        if not secrets.compare_digest(given.get("state", "").encode(), self.server.state.encode()):
            return self._say(400, "This is not the answer to the request.")
        if given.get("code"):
            self.server.found = Secret(given["code"])
            return self._say(200, "Done. You can close this window.")
        reason = one_line(given.get("error_description") or given.get("error") or "no code")
        self.server.found = TokenError(f"the sign-in failed: {reason}", given.get("error", ""))
        return self._say(400, "The sign-in failed. See the terminal for the reason.")

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: the path contains the code."""


def _refresh_token(client: Client, status: int, answer: Answer) -> Secret:
    if status != 200:
        raise _refused(client, answer)
    if not isinstance(answer.get("refresh_token"), str):
        raise TokenError("the endpoint issued no refresh token: add offline_access to the scope")
    return Secret(answer["refresh_token"])


def _refused(client: Client, answer: Answer) -> TokenError:
    hidden = () if client.client_secret is None else (client.client_secret,)
    return refusal(answer, f"client {client.client_id}", hidden)
