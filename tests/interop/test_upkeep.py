"""Upkeep with real servers: they accept the checks, and their idle limits are learned."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="these servers are those of the frameworks' tests, too")
pytest.importorskip("flask", reason="these servers are those of the frameworks' tests, too")

from interop.servers.all import AllServers
from mailbackends import Mailer
from mailbackends.pool import upkeep
from support.background import until


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_INTERVAL", 0.2)
    monkeypatch.setattr(upkeep, "_SHORTEST_INTERVAL", 0.1)
    monkeypatch.setattr(upkeep, "_SHORTEST_LOOK", 0.05)
    monkeypatch.setattr("mailbackends.pool.upkeep.random.uniform", lambda least, most: 0.1)


def mailer_for(server: str, all_servers: AllServers, need: str = "plain") -> Mailer:
    found = all_servers.server(server)
    endpoint = found.endpoint(need)
    if endpoint.path is not None:
        return Mailer(protocol="lmtp", socket_path=endpoint.path, min_idle=1)
    return Mailer(host="127.0.0.1", port=endpoint.port, protocol=found.protocol, min_idle=1)


@pytest.mark.parametrize("server", ["Postfix", "Exim", "Haraka"])
def test_servers_accept_the_checks_of_a_connection_until_it_is_renewed(
    server: str, all_servers: AllServers
) -> None:
    """Exim ends a connection after ten commands without a message."""
    with mailer_for(server, all_servers) as mailer:
        assert mailer.warm_up(10) == 1
        until(lambda: mailer.stats().pool.retired.get("renewed", 0) >= 2, 30)
        stats = mailer.stats().pool
        assert set(stats.retired) == {"renewed"}
        assert stats.checked >= 16
        assert stats.failed_ahead == 0


def test_the_idle_limit_of_postfix_is_learned(
    all_servers: AllServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closes after a second without a command, with a 421."""
    monkeypatch.setattr(upkeep, "_INTERVAL", 4.0)
    with mailer_for("Postfix", all_servers, "idle") as mailer:
        assert mailer.warm_up(10) == 1
        until(lambda: mailer.stats().pool.checked >= 8, 30)
        dead = mailer.stats().pool.retired["dead"]
        checked = mailer.stats().pool.checked
        until(lambda: mailer.stats().pool.checked >= checked + 10, 30)
        assert mailer.stats().pool.retired["dead"] == dead <= 4
