"""Token providers for Microsoft 365, Google Workspace, and any refresh token."""

from __future__ import annotations

import datetime
import importlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mailbackends.errors import ConfigurationError, TokenError
from mailbackends.oauth.endpoint import access_token, check_url, post_form, refusal
from mailbackends.oauth.provider import AccessToken, TokenProvider
from mailbackends.secret import Secret
from mailbackends.texts import one_line

__all__ = ["GOOGLE_SCOPE", "MICROSOFT_SCOPE", "google", "microsoft", "refresh_token"]

logger: logging.Logger = logging.getLogger("mailbackends.oauth")

MICROSOFT_SCOPE = "https://outlook.office365.com/.default"
"""Client credentials for SMTP AUTH in Exchange Online."""
_MICROSOFT = "https://login.microsoftonline.com"
GOOGLE_SCOPE = "https://mail.google.com/"
"""The only scope with which Gmail's SMTP server accepts a token."""


def microsoft(
    tenant: str,
    client_id: str,
    *,
    secret: str | Secret | None = None,
    certificate: str | Path | None = None,
    managed_identity: bool | str = False,
    authority: str = _MICROSOFT,
    timeout: float = 30.0,
) -> TokenProvider:
    """Tokens for Microsoft 365 by client credentials, over ``msal`` (extra ``microsoft``).

    Args:
        tenant: the tenant's id or a verified domain.
        client_id: the application's (client) id.
        secret: the value of a client secret.
        certificate: a PEM file with the private key and the certificate, instead of a secret.
        managed_identity: True for the system-assigned identity of an Azure machine, or the
            client id of a user-assigned one, instead of a secret.
        authority: another cloud's login endpoint.
        timeout: the longest wait for a token, in seconds.

    Raises:
        ConfigurationError: not exactly one credential is given, or ``msal`` is missing.
    """
    # Before anything can raise: a traceback shows the arguments of its frames.
    secret = Secret(secret) if secret else None
    credentials = {
        "secret": secret, "certificate": certificate, "managed_identity": managed_identity
    }  # fmt: skip
    given = [name for name, value in credentials.items() if value]
    if len(given) != 1:
        raise ConfigurationError(
            "oauth microsoft needs one of secret, certificate and managed_identity, "
            f"got {' and '.join(given) or 'none'}"
        )
    identity = f"Microsoft application {client_id}"
    msal = _imported("msal", "microsoft")
    import requests  # msal depends on it

    if managed_identity:
        found = (
            msal.SystemAssignedManagedIdentity()
            if managed_identity is True
            else msal.UserAssignedManagedIdentity(client_id=managed_identity)
        )
        client = _OnFirstUse(
            lambda: msal.ManagedIdentityClient(found, http_client=requests.Session())
        )
        resource = MICROSOFT_SCOPE.removesuffix("/.default")

        def fetch() -> AccessToken:
            answer = client().acquire_token_for_client(resource=resource)
            return _from_msal(answer, identity, ())

        return TokenProvider(fetch, identity=identity, timeout=timeout)

    check_url(authority, "authority")
    key = _certificate(certificate) if certificate else None
    application = _OnFirstUse(
        lambda: msal.ConfidentialClientApplication(
            client_id,
            client_credential=_for_msal(secret, key),
            authority=f"{authority.rstrip('/')}/{tenant}",
            # Another cloud's endpoint is not asked for at Microsoft's public one.
            instance_discovery=None if authority == _MICROSOFT else False,
            timeout=timeout,
        )
    )
    secrets = (secret,) if secret else ()

    def fetch_by_msal() -> AccessToken:
        try:
            # msal's own cache would return the token that the server has just refused.
            application().remove_tokens_for_client()
            answer = application().acquire_token_for_client(scopes=[MICROSOFT_SCOPE])
        except (OSError, ValueError) as error:
            raise _no_answer(error, identity, secrets) from None
        return _from_msal(answer, identity, secrets)

    return TokenProvider(fetch_by_msal, identity=identity, timeout=timeout)


def google(
    service_account_file: str | Path,
    subject: str,
    *,
    timeout: float = 30.0,
    name: str = "service_account_file",
) -> TokenProvider:
    """Tokens for Google Workspace by domain-wide delegation, over ``google-auth``.

    Args:
        service_account_file: the service account's key, a JSON file. Read at once.
        subject: the mailbox to send as; it is the user name of the login too.
        timeout: the longest wait for a token, in seconds.
        name: what error texts call the file's setting.

    Raises:
        ConfigurationError: the file is not such a key, or the extra ``google`` is missing.
    """
    path = Path(service_account_file)
    service_account = _imported("google.oauth2.service_account", "google")
    transport = _imported("google.auth.transport.requests", "google")
    try:
        credentials = service_account.Credentials.from_service_account_file(
            str(path), scopes=[GOOGLE_SCOPE], subject=subject
        )
    except OSError as error:
        raise ConfigurationError(
            f"{name} {str(path)!r}: {error.strerror}: check the path"
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{name} {str(path)!r} is not a service account's key: download it "
            "as JSON from the Google Cloud console"
        ) from None
    identity = f"Google account {subject}"

    def fetch() -> AccessToken:
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            credentials.refresh(transport.Request())
        except TransportError as error:
            raise _no_answer(error, identity, ()) from None
        except GoogleAuthError as error:
            answer = next((arg for arg in error.args if isinstance(arg, Mapping)), None)
            raise refusal(answer or {"error_description": str(error)}, identity, ()) from None
        lifetime = (credentials.expiry - _utc_now()).total_seconds()
        return access_token({"access_token": credentials.token, "expires_in": lifetime}, identity)

    return TokenProvider(fetch, identity=identity, timeout=timeout)


def refresh_token(
    token_url: str,
    client_id: str,
    client_secret: str | Secret | None,
    refresh_token: str | Secret,
    *,
    scope: str | None = None,
    on_rotated: Callable[[str], object] | None = None,
    timeout: float = 30.0,
) -> TokenProvider:
    """Tokens from a refresh token (RFC 6749 section 6), with the standard library.

    Args:
        token_url: the provider's token endpoint; https, or http on this machine.
        client_secret: None for a public client.
        scope: None for the scope that was granted.
        on_rotated: called with the new refresh token where the endpoint replaces it. Store
            it: the old one may not work again. An exception is logged and ignored.
        timeout: the longest wait for a token, in seconds.

    Raises:
        ConfigurationError: the URL is not usable.
    """
    client_secret = Secret(client_secret) if client_secret else None
    refresh_token = Secret(refresh_token)
    if not refresh_token:
        raise ConfigurationError("refresh_token is empty: get one with: mailbackends oauth login")
    check_url(token_url)
    current = _Rotating(refresh_token)
    secret = client_secret
    identity = f"client {client_id}"

    def fetch() -> AccessToken:
        fields: dict[str, str | Secret] = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "refresh_token": current.token,
        }
        if secret is not None:
            fields["client_secret"] = secret
        if scope is not None:
            fields["scope"] = scope
        status, answer = post_form(token_url, fields, timeout=timeout)
        if status != 200:
            if status >= 500 or status == 429:
                answer["error"] = "server_error"
            raise refusal(answer, identity, filter(None, (current.token, secret)))
        token = access_token(answer, identity)
        current.rotate(answer, on_rotated)
        return token

    return TokenProvider(fetch, identity=identity, timeout=timeout)


class _OnFirstUse:
    """Makes an object when it is first needed: msal asks the network when made."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Any = None

    def __call__(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class _Rotating:
    """A refresh token that the endpoint may replace (RFC 6749 section 6)."""

    def __init__(self, token: Secret) -> None:
        self.token = token

    def rotate(self, answer: Mapping[str, Any], on_rotated: Callable[[str], object] | None) -> None:
        if not isinstance(answer.get("refresh_token"), str) or not answer["refresh_token"]:
            return
        replacement = Secret(answer["refresh_token"])
        if replacement == self.token:
            return
        self.token = replacement
        if on_rotated is None:
            logger.warning("the endpoint replaced the refresh token: give on_rotated to store it")
            return
        try:
            on_rotated(replacement.reveal())
        except Exception as error:
            # The new token serves this process; its text may be in the error's.
            logger.error("on_rotated raised %s", type(error).__name__)


def _certificate(path: str | Path) -> Secret:
    try:
        pem = Secret(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a PEM file"
        raise ConfigurationError(f"certificate {str(path)!r}: {reason}") from None
    for kind in ("PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"):
        if kind not in pem.reveal():
            raise ConfigurationError(
                f"certificate {str(path)!r} must contain both the private key and the "
                f"certificate: there is no {kind.strip('-').removeprefix('BEGIN ').lower()}"
            )
    return pem


def _for_msal(secret: Secret | None, key: Secret | None) -> Any:
    if secret is not None:
        return secret.reveal()
    pem = Secret("" if key is None else key)
    # msal computes the thumbprint from the certificate.
    return {"private_key": pem.reveal(), "public_certificate": pem.reveal()}


def _from_msal(
    answer: Mapping[str, Any], identity: str, secrets: tuple[Secret, ...]
) -> AccessToken:
    if "access_token" not in answer:
        raise refusal(answer, identity, secrets)
    return access_token(answer, identity)


def _no_answer(error: Exception, identity: str, secrets: tuple[Secret, ...]) -> TokenError:
    text = one_line(str(error))
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    is_timeout = isinstance(error, TimeoutError) or "timed out" in text
    return TokenError(
        f"no access token for {identity}: {text}", "timeout" if is_timeout else "unreachable"
    )


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigurationError(
            f"oauth={extra!r} needs {module.partition('.')[0]}: "
            f'python -m pip install "mailbackends[{extra}]"'
        ) from None


def _utc_now() -> datetime.datetime:
    # google-auth's expiry is in UTC without a time zone.
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
