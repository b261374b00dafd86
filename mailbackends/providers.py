"""Known mail providers: where they listen, what their logins are, and their limits.

The data is in ``providers.toml``. `Options.preset` uses it for values, the doctor for hints, and
the documentation for its page.
"""

from __future__ import annotations

import fnmatch
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Provider", "provider_of", "providers"]


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of one provider."""

    key: str
    """Its name in `Options.preset`."""
    name: str
    host: str
    """Its host; ``{region}`` and ``{host}`` stand for a value that the user gives."""
    port: int
    security: str
    login: str
    """What the user name and the password are, as a clause."""
    limits: str
    quirks: str
    source: str
    """The address of the provider's own page."""
    read: str
    """The month in which the page was read."""
    hosts: tuple[str, ...] = ()
    """Further hosts of the service, as patterns of `fnmatch`."""
    starttls_ports: tuple[int, ...] = ()
    tls_ports: tuple[int, ...] = ()
    """The ports with TLS from the first byte."""
    username: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the preset."""
    tried: str | None = None
    """What was tried by this project's tests, or None: the facts are the provider's."""

    def hint(self, port: int, security: str) -> str | None:
        """What is wrong with these settings for this provider, as a clause, or None."""
        ports = {"starttls": self.starttls_ports, "tls": self.tls_ports}.get(security)
        if not self.starttls_ports and security == "starttls":
            return f"{self.name} has no STARTTLS: use TLS from the first byte, port {self.port}"
        if not self.tls_ports and security == "tls":
            return f"{self.name} has no TLS from the first byte: use STARTTLS, port {self.port}"
        if ports and port not in ports:
            listed = " or ".join(map(str, ports))
            kind = "STARTTLS" if security == "starttls" else "TLS from the first byte"
            return f"{self.name} has {kind} on port {listed}"
        return None


@functools.cache
def providers() -> Mapping[str, Provider]:
    """All providers by key, in the order of the page."""
    with Path(__file__).with_name("providers.toml").open("rb") as file:
        tables = tomllib.load(file)
    return {key: Provider(key, **_values(table)) for key, table in tables.items()}


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }


def provider_of(host: str) -> Provider | None:
    """The provider to which this host belongs, or None."""
    host = host.lower().rstrip(".")
    for provider in providers().values():
        names = [provider.host.replace("{region}", "*"), *provider.hosts]
        if any(name != "{host}" and fnmatch.fnmatchcase(host, name) for name in names):
            return provider
    return None
