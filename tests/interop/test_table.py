"""Each scenario at each server through each client; docs/compatibility.md is made of it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("django", reason="the table needs Django and Flask")
pytest.importorskip("flask", reason="the table needs Django and Flask")

import interop.scenarios_of_ends  # noqa: F401 - its scenarios stand in the table, too
from interop.place import CLIENTS, Place
from interop.scenarios import SCENARIOS
from interop.table import Table
from interop.world import SERVERS, World, versions

FULL = bool(os.environ.get("MAILBACKENDS_INTEROP_FULL"))
CELLS = [
    pytest.param(server, scenario, client, id=f"{server}-{scenario}-{client}")
    for server in SERVERS
    for scenario in SCENARIOS
    for client in CLIENTS
    if FULL or client == "Mailer" or not SCENARIOS[scenario].is_heavy
]


@pytest.mark.parametrize(("server", "scenario", "client"), CELLS)
def test_what_is_sent_arrives_once_or_the_caller_is_told(
    server: str, scenario: str, client: str, world: World, cafile: str, table: Table
) -> None:
    table.versions = versions()
    row = SCENARIOS[scenario]
    world.server(server).forget()
    place = Place(world.server(server), CLIENTS[client], cafile)
    reason = place.server.lacks.get(row.needs)
    table.note(scenario, server, client, "FAILED")
    table.note(scenario, server, client, reason or row.play(place))
