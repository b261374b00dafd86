"""``mailbackends oauth login``: get a refresh token, once, with a browser."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mailbackends.cli.output import consoles, say
from mailbackends.oauth.login import Client, device_flow, loopback_flow
from mailbackends.secret import Secret

__all__ = ["oauth"]

_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"
_GOOGLE = "https://oauth2.googleapis.com"
SECRET_VARIABLE = "MAILBACKENDS_CLIENT_SECRET"  # noqa: S105 - the name of a variable


@click.group()
def oauth() -> None:
    """Get a token for a mail server that takes no password."""


@oauth.command(
    epilog="\b\nExamples:\n"
    "  mailbackends oauth login microsoft --client-id 1111-2222 --output refresh-token\n"
    "  mailbackends oauth login google --client-id 3.apps.googleusercontent.com \\\n"
    "      --client-secret-file secret --output refresh-token\n"
    "  mailbackends oauth login other --client-id shop --scope mail --output refresh-token \\\n"
    "      --device-url https://id.example.com/device --token-url https://id.example.com/token"
)
@click.argument("provider", type=click.Choice(["microsoft", "google", "other"]))
@click.option("--client-id", required=True, help="The id of the application.")
@click.option(
    "--client-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A file whose first line is its secret; default: {SECRET_VARIABLE}, or none.",
)
@click.option("--tenant", default="common", show_default=True, help="Microsoft: the tenant.")
@click.option("--scope", help="Default: the provider's scope for SMTP.")
@click.option("--token-url", help="Other: the token endpoint.")
@click.option("--device-url", help="Other: the device authorization endpoint (RFC 8628).")
@click.option("--authorize-url", help="Other: the authorization endpoint, for a local browser.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write the refresh token to, readable by you alone.",
)
def login(
    provider: str,
    client_id: str,
    client_secret_file: Path | None,
    tenant: str,
    scope: str | None,
    token_url: str | None,
    device_url: str | None,
    authorize_url: str | None,
    output: Path,
) -> None:
    """Sign in with a browser, and store the refresh token for the option oauth=refresh_token.

    Microsoft shows a code to enter on any device; Google redirects a browser of this machine.
    """
    out, _ = consoles()
    if provider == "microsoft":
        base = _MICROSOFT.format(tenant=tenant)
        token_url, device_url = token_url or f"{base}/token", device_url or f"{base}/devicecode"
        scope = scope or "https://outlook.office.com/SMTP.Send offline_access"
    elif provider == "google":
        token_url = token_url or f"{_GOOGLE}/token"
        authorize_url = authorize_url or "https://accounts.google.com/o/oauth2/v2/auth"
        scope = scope or "https://mail.google.com/"
    if not token_url or not scope or not (device_url or authorize_url):
        raise click.UsageError(
            "the provider 'other' needs --token-url, --scope, and --device-url or --authorize-url"
        )
    client = Client(token_url, client_id, scope, _client_secret(client_secret_file))
    if device_url:
        token = device_flow(
            client, device_url, lambda url, code: say(out, f"Open {url} and enter ", (code, "bold"))
        )
    else:
        token = loopback_flow(
            client, authorize_url or "", lambda url: say(out, "Open in a browser: ", url)
        )
    _store(output, token)
    say(out, ("Signed in. ", "green"), f"The refresh token is in {output}.")


def _client_secret(path: Path | None) -> Secret | None:
    if path is not None:
        return Secret(path.read_text(encoding="utf-8-sig").partition("\n")[0].strip())
    found = os.environ.get(SECRET_VARIABLE)
    return Secret(found) if found else None


def _store(path: Path, token: Secret) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.chmod(path, 0o600)
        file.write(f"{token.reveal()}\n")
