"""What the library does not do yet at real servers, by the cells of the table."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["KNOWN"]


def _cells(
    server: str, scenarios: tuple[str, ...], clients: tuple[str, ...], reason: str
) -> Iterator[tuple[tuple[str, str, str], str]]:
    for scenario in scenarios:
        for client in clients:
            yield (server, scenario, client), reason


_ALL_BUT_SMTP = ("Mailer", "AsyncMailer", "Django", "Flask")

KNOWN: dict[tuple[str, str, str], str] = {
    **dict(_cells(
        "Haraka", ("too many errors", "15 refused messages in a row"), _ALL_BUT_SMTP,
        "450 Too many errors to MAIL on a reused connection must be tried on a new one",
    )),
}  # fmt: skip
"""The reason by server, scenario and client. The cell is expected to fail: remove it when not."""
