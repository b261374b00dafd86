"""OpenSMTPD closes idle connections after five minutes: too long for the gate."""

from __future__ import annotations

import faulthandler
import os
import time
from contextlib import ExitStack

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop.cell import CLIENTS, Cell
from interop.clients import Sent
from interop.mails import Mail
from interop.relay import Relay
from interop.servers.all import AllServers


@pytest.mark.skipif(
    not os.environ.get("MAILBACKENDS_INTEROP_FULL"),
    reason="waits five minutes: set MAILBACKENDS_INTEROP_FULL to run it",
)
def test_after_five_idle_minutes_the_next_message_goes_over_a_new_connection(
    all_servers: AllServers, cafile: str
) -> None:
    server = all_servers.server("OpenSMTPD")
    with ExitStack() as stack:
        opened = []
        for kind in CLIENTS.values():
            cell = Cell(server, kind, cafile)
            relay = stack.enter_context(Relay(server.endpoint()))
            client = stack.enter_context(cell.client(port=relay.port))
            cell.deliver(client, Mail())
            opened.append((cell, relay, client))
        faulthandler.cancel_dump_traceback_later()  # pytest's limit for one test is shorter
        time.sleep(305)
        for cell, relay, client in opened:
            mail = Mail()
            sent = client.send(mail)
            if sent.error is not None:
                assert not client.reconnects, repr(sent.error)
                assert sent.may_be_sent_again
                sent = client.send(mail)
            assert sent == Sent()
            cell.check_arrived(client, mail)
            assert relay.connections == 2
