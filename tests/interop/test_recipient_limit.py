"""Servers that take some recipients of a message, and refuse each further one with 452."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop.cell import CLIENTS, Cell
from interop.mails import Mail
from interop.servers.all import AllServers


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("server", "need", "limit", "count"),
    [("Postfix", "five recipients", 5, 12), ("sendmail", "plain", 100, 230)],
)
def test_recipients_above_the_limit_get_the_message_in_parts_or_are_reported(
    server: str,
    need: str,
    limit: int,
    count: int,
    client: str,
    all_servers: AllServers,
    cafile: str,
) -> None:
    cell = Cell(all_servers.server(server), CLIENTS[client], cafile)
    mail = Mail(local_parts=tuple(f"p{number}" for number in range(count)))
    with cell.client(need) as one:
        sent = one.send(mail)
        assert sent.error is None
        left = () if cell.splits_recipients else mail.recipients[limit:]
        assert sent.refused == dict.fromkeys(left, 452)
        cell.check_arrived(one, mail, refused=left)
