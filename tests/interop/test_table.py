"""Each scenario at each server through each client; docs/compatibility.md is made of it."""

from __future__ import annotations

import itertools
import os

import pytest

pytest.importorskip("django", reason="the table needs Django and Flask")
pytest.importorskip("flask", reason="the table needs Django and Flask")

import interop.scenarios_of_connections  # noqa: F401 - its scenarios are rows of the table, too
from interop.cell import CLIENTS, Cell
from interop.scenarios import SCENARIOS
from interop.servers.all import SERVERS, AllServers, versions
from interop.table import Table

FULL = bool(os.environ.get("MAILBACKENDS_INTEROP_FULL"))

ORDER = tuple(itertools.product(SCENARIOS, SERVERS, CLIENTS))


CELLS = [
    pytest.param(server, scenario, client, id=f"{server}-{scenario}-{client}")
    for server in SERVERS
    for scenario in SCENARIOS
    for client in CLIENTS
    if FULL or client == "Mailer" or not SCENARIOS[scenario].is_heavy
]  # fmt: skip


@pytest.mark.parametrize(("server", "scenario", "client"), CELLS)
def test_what_is_sent_arrives_once_or_an_error_is_reported(
    server: str,
    scenario: str,
    client: str,
    all_servers: AllServers,
    cafile: str,
    table: Table,
) -> None:
    table.versions, table.order = versions(), ORDER
    row = SCENARIOS[scenario]
    cell = Cell(all_servers.server(server), CLIENTS[client], cafile)
    cell.server.forget()
    reason = cell.server.lacks.get(row.needs)
    table.note(scenario, server, client, "FAILED")
    table.note(scenario, server, client, reason or row.play(cell))
