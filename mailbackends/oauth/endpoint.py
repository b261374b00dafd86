"""A request to a token endpoint (RFC 6749), with only the standard library."""

from __future__ import annotations

import ipaddress
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from mailbackends.errors import ConfigurationError, TokenError
from mailbackends.oauth.provider import AccessToken
from mailbackends.secret import Secret
from mailbackends.texts import one_line

__all__ = ["access_token", "check_url", "post_form", "refusal"]

_LARGEST = 256 * 1024  # bytes of a response
# Without expires_in (RFC 6749 section 5.1 only recommends it) an hour is the usual lifetime.
_USUAL_LIFETIME = 3600.0
# Visible ASCII without a space (RFC 6750 section 2.1).
_TOKEN = re.compile(r"[\x21-\x7e]+")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the secrets to another place."""

    def redirect_request(self, *args: Any, **options: Any) -> None:
        """Never: the response to the POST is then the 3xx itself."""


def check_url(url: str, name: str = "token_url") -> str:
    """The URL, if secrets may be sent there: https, or http on this machine.

    Raises:
        ConfigurationError: it is another URL.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise ConfigurationError(f"{name} must be an https URL without user name, got {url!r}")
    if parts.scheme == "http" and not is_local:
        raise ConfigurationError(f"{name} must begin with https://, or secrets are sent in clear")
    return url


class Answer(dict[str, Any]):
    """The JSON object of a response. Its ``repr()`` shows the names alone: values are secrets."""

    def __repr__(self) -> str:
        return f"<Answer {', '.join(sorted(map(str, self)))}>"


def post_form(
    url: str, fields: Mapping[str, str | Secret], *, timeout: float
) -> tuple[int, Answer]:
    """POST a form; the status and the JSON object of the response.

    Raises:
        TokenError: there is no answer, or none in JSON. Its text contains no value of a field.
    """
    host = urlsplit(url).netloc
    try:
        status, answer = _exchange(url, fields, timeout)
    except TimeoutError:
        raise TokenError(
            f"the token endpoint {host} did not answer within {timeout:g} s", "timeout"
        ) from None
    except (OSError, ValueError) as error:
        # Also http.client's errors, which are OSErrors or ValueErrors by way of urllib.
        reason = getattr(error, "reason", None) or error
        code = "timeout" if isinstance(reason, TimeoutError) else "unreachable"
        raise TokenError(
            f"the token endpoint {host} cannot be reached: {one_line(str(reason))}", code
        ) from None
    except Exception as error:
        raise TokenError(
            f"the token endpoint {host} sent no HTTP response: {type(error).__name__}",
            "unreachable",
        ) from None
    if answer is None:
        code = "server_error" if status >= 500 else ""
        raise TokenError(
            f"the token endpoint {host} answered {status} without a JSON object: is "
            f"{urlsplit(url).path!r} its path?",
            code,
        )
    return status, answer


def _exchange(
    url: str, fields: Mapping[str, str | Secret], timeout: float
) -> tuple[int, Answer | None]:
    # The form and the body are secrets: no variable of this frame holds them.
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(_request(url, fields), timeout=timeout) as response:
            return response.status, _parsed(response)
    except urllib.error.HTTPError as error:
        return error.code, _parsed(error)


def _request(url: str, fields: Mapping[str, str | Secret]) -> urllib.request.Request:
    return urllib.request.Request(  # noqa: S310 - see `check_url`
        url,
        urlencode(
            {k: v.reveal() if isinstance(v, Secret) else v for k, v in fields.items()}
        ).encode(),
        {"Accept": "application/json"},
        method="POST",
    )


def _parsed(response: Any) -> Answer | None:
    try:
        answer = json.loads(response.read(_LARGEST))
    except (ValueError, RecursionError):
        return None
    return Answer(answer) if isinstance(answer, dict) else None


def access_token(answer: Mapping[str, Any], identity: str) -> AccessToken:
    """The token in a successful response (RFC 6749 section 5.1).

    Raises:
        TokenError: there is none, or none for this use.
    """
    kind = answer.get("token_type", "Bearer")
    if not _is_usable(answer.get("access_token")):
        raise TokenError(f"no access token for {identity}: the answer has no usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenError(f"no access token for {identity}: token_type must be Bearer, got {kind!r}")
    try:
        lifetime = float(answer.get("expires_in", _USUAL_LIFETIME))
    except (TypeError, ValueError):
        lifetime = _USUAL_LIFETIME
    if not 0 < lifetime < 10**9:
        raise TokenError(f"no access token for {identity}: it has expired: check the clock")
    return AccessToken(Secret(answer["access_token"]), lifetime)


def _is_usable(value: object) -> bool:
    return isinstance(value, str) and bool(_TOKEN.fullmatch(value))


def refusal(answer: Mapping[str, Any], identity: str, secrets: Iterable[Secret]) -> TokenError:
    """The error for a response that refuses (RFC 6749 section 5.2), without the secrets."""
    code = str(answer.get("error") or "")
    text = one_line(str(answer.get("error_description") or code or "no reason was given"))
    for secret in secrets:
        if len(secret.reveal()) >= 4:
            text = text.replace(secret.reveal(), "***")
    # Microsoft's descriptions go on with trace ids and a time stamp.
    text = text.partition(" Trace ID:")[0]
    return TokenError(f"no access token for {identity}: {text}", code if len(code) < 80 else "")
