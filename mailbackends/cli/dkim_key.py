"""``mailbackends dkim-key``: make a key pair for DKIM, and the record to publish."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mailbackends.cli.output import consoles, say
from mailbackends.dkim import DKIM
from mailbackends.dkim.keys import ED25519, RSA, generate
from mailbackends.dkim.record import record_of, zone_lines

__all__ = ["dkim_key"]


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends dkim-key --domain example.com --selector s2026\n"
    "  mailbackends dkim-key --domain example.com --selector e2026 --ed25519\n"
    "  mailbackends dkim-key --domain example.com --selector s2026 --key-file s2026.pem"
)
@click.option("--domain", required=True, help="The domain that signs, as in From.")
@click.option("--selector", required=True, help="The name of this key, such as s2026.")
@click.option("--ed25519", is_flag=True, help="An Ed25519 key, in addition to one with RSA.")
@click.option("--bits", type=int, default=2048, show_default=True, help="The size of an RSA key.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file for the private key, readable by you alone. Default: DOMAIN-SELECTOR.pem.",
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Make no key, and print the record of this one.",
)
def dkim_key(
    domain: str, selector: str, ed25519: bool, bits: int, output: Path | None, key_file: Path | None
) -> None:
    """Make a key pair for DKIM: the private key in a file, and the DNS record to publish.

    An existing file is never overwritten.
    """
    _, err = consoles()
    if key_file is None:
        pem = generate(ED25519 if ed25519 else RSA, bits=bits)
        key = DKIM(domain=domain, selector=selector, key=pem)
        path = output or Path(f"{key.domain}-{key.selector}.pem")
        _store(path, pem.reveal())
        say(err, ("The private key is in ", "green"), f"{path}. Keep it out of version control.")
        key_file = path
    else:
        key = DKIM(domain=domain, selector=selector, key_file=key_file)
    public = key.signing_key.public
    if public is None:  # pragma: no cover - a key that was read has one
        raise click.ClickException("the key has no public part")
    say(err, f"Publish this record at {key.record_name} ({public}):")
    click.echo(zone_lines(key.record_name, record_of(public)))
    say(
        err,
        "Then sign with ",
        (f'dkim={{"domain": "{key.domain}", "selector": "{key.selector}", ', "bold"),
        (f'"key_file": "{key_file}"}}', "bold"),
        ".",
    )


def _store(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.UsageError(
            f"{path} exists, and may be in use: name another file with --output"
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
