"""`provider_from`: the token provider that settings describe by names and texts."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, fields
from pathlib import Path

from mailbackends.errors import ConfigurationError
from mailbackends.oauth.provider import TokenProvider
from mailbackends.oauth.providers import google, microsoft, refresh_token
from mailbackends.secret import Secret
from mailbackends.wording import MAILER, Wording

__all__ = ["OAuthSettings", "provider_from"]

SECRET_VARIABLE = "MAILBACKENDS_CLIENT_SECRET"  # noqa: S105 - the names of variables
REFRESH_VARIABLE = "MAILBACKENDS_REFRESH_TOKEN"

# What each provider needs and what it may have, beside the user name.
_NAMES = {
    "microsoft": (
        ("tenant", "client_id"),
        ("client_secret", "client_secret_file", "certificate_file", "managed_identity"),
    ),
    "google": (("service_account_file",), ()),
    "refresh_token": (
        ("token_url", "client_id"),
        ("client_secret", "client_secret_file", "refresh_token", "refresh_token_file"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """The options with which `mailbackends.Options` describes where tokens come from."""

    oauth: str
    username: str | None = None
    tenant: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    client_secret_file: str | None = None
    certificate_file: str | None = None
    managed_identity: bool = False
    service_account_file: str | None = None
    token_url: str | None = None
    refresh_token: Secret | None = None
    refresh_token_file: str | None = None


_providers: dict[OAuthSettings, TokenProvider] = {}
_lock = threading.Lock()
# Tenants with credentials given for one call could otherwise fill the memory.
_MOST = 1000


def provider_from(settings: OAuthSettings, wording: Wording = MAILER) -> TokenProvider:
    """The provider for these settings: the same one for equal settings in this process.

    A secret that is not given is read from its file, or from the environment variable
    ``MAILBACKENDS_CLIENT_SECRET`` or ``MAILBACKENDS_REFRESH_TOKEN``.

    Raises:
        ConfigurationError: an option is missing or does not belong to this provider.
    """
    with _lock:
        found = _providers.get(settings)
        if found is None:
            _check(settings, wording)
            found = _make(settings, wording)
            if len(_providers) >= _MOST:
                _providers.pop(next(iter(_providers)))
            _providers[settings] = found
        return found


def _error(wording: Wording, text: str) -> ConfigurationError:
    return ConfigurationError(wording.render(text))


def _check(settings: OAuthSettings, wording: Wording) -> None:
    needed, allowed = _NAMES[settings.oauth]
    for name in needed:
        if not getattr(settings, name):
            raise _error(wording, f"{{oauth}}={settings.oauth!r} needs {{{name}}}: set it")
    for field in fields(settings):
        name = field.name
        if name not in ("oauth", "username", *needed, *allowed) and getattr(settings, name):
            takes = ", ".join(f"{{{each}}}" for each in (*needed, *allowed))
            raise _error(
                wording,
                f"{{{name}}} does not belong to {{oauth}}={settings.oauth!r}, which takes {takes}: "
                "leave it out",
            )
    for name in ("client_secret", "refresh_token"):
        if getattr(settings, name) and getattr(settings, f"{name}_file"):
            raise _error(wording, f"{{{name}}} and {{{name}_file}} are both set: set one of them")


def _make(settings: OAuthSettings, wording: Wording) -> TokenProvider:
    client_id = settings.client_id or ""
    if settings.oauth == "google":
        if not settings.username:
            raise _error(wording, "{oauth}='google' needs {username}, the mailbox to send as")
        name = wording.name("service_account_file")
        return google(settings.service_account_file or "", settings.username, name=name)
    if settings.oauth == "microsoft":
        certificate, identity = settings.certificate_file, settings.managed_identity
        secret = None if certificate or identity else _client_secret(settings, wording)
        if bool(secret) + bool(certificate) + bool(identity) != 1:
            raise _error(
                wording,
                "{oauth}='microsoft' needs one of {client_secret}, {client_secret_file}, "
                f"{{certificate_file}}, {{managed_identity}} and {SECRET_VARIABLE} in the "
                "environment: set one of them",
            )
        return microsoft(
            settings.tenant or "",
            client_id,
            secret=secret,
            certificate=settings.certificate_file,
            managed_identity=settings.managed_identity,
        )
    path = settings.refresh_token_file
    token = settings.refresh_token or _read(
        path, wording.name("refresh_token_file"), REFRESH_VARIABLE
    )
    if token is None:
        raise _error(
            wording,
            f"{{oauth}}='refresh_token' needs {{refresh_token_file}}, or {REFRESH_VARIABLE} in the "
            "environment: get a token with: mailbackends oauth login",
        )
    # A token that the endpoint replaces is stored where it was read from.
    store = None if path is None else lambda new: _write(Path(path), new)
    return refresh_token(
        settings.token_url or "",
        client_id,
        _client_secret(settings, wording),
        token,
        on_rotated=store,
    )


def _client_secret(settings: OAuthSettings, wording: Wording) -> Secret | None:
    return settings.client_secret or _read(
        settings.client_secret_file, wording.name("client_secret_file"), SECRET_VARIABLE
    )


def _read(path: str | None, option: str, variable: str) -> Secret | None:
    if path is None:
        return Secret(os.environ[variable]) if os.environ.get(variable) else None
    try:
        found = Secret(Path(path).read_text(encoding="utf-8-sig").partition("\n")[0].strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{option} {path!r}: {reason}: check the path") from None
    if not found:
        raise ConfigurationError(f"{option} {path!r} is empty: its first line must be the secret")
    return found


def _write(path: Path, token: str) -> None:
    """Replace the file at once, so that no reader finds half a token."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    beside.replace(path)
