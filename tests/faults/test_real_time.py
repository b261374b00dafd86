"""The same in real time: threads on both sides, real waiting, and another server.

`test_every_byte` replaces waiting by turns; here the same is tried without that.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from faults import totals
from faults.accounts import Letter, check, letter
from faults.ways import GROUP, WAYS, Way

from mailbackends import Mailer, Outcome, Receipt, SMTPException
from support.face import TLSMode
from support.line import Break, Cut
from support.running import Running
from support.sink import EXTENSIONS, Sink
from support.turns import Network

TIMEOUT = 0.05  # seconds
Results = list[tuple[Letter, Receipt | Exception]]


def send_two(mailer: Mailer) -> Results:
    results: Results = []
    for one in (letter(0), letter(1)):
        try:
            results.append((one, mailer.send_message(one.content, one.sender, one.recipients)))
        except SMTPException as error:
            results.append((one, error))
    return results


def only_first(cut: Cut, index: int, server: int) -> Cut | None:
    return None if index else cut


@pytest.mark.parametrize("way", [way for way in WAYS if "partial" not in way.name], ids=str)
def test_a_connection_breaks_in_real_time(way: Way) -> None:
    for offset in range(0, 260, 13):
        for direction in ("received", "sent"):
            kind = list(Break)[offset // 13 % 4]
            cut = Cut(direction, offset, kind)
            totals.cuts[kind] += 1
            network = Network(way.habits)
            delivered = network.begin(partial(only_first, cut))
            options = way.options(network.ports[0]).replace(
                timeout=TIMEOUT, content_timeout=TIMEOUT, deadline=5.0
            )
            with Running(network), Mailer(options) as mailer:
                results = send_two(mailer)
            totals.messages.update(check(results, delivered.count))


CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED, PLAIN], ids=["1", "2", "n"])
def test_another_server_breaks_off(extensions: tuple[str, ...], lmtp: bool, tls: TLSMode) -> None:
    """`Sink` shares no code with the machine behind the other fault tests."""
    for offset in range(0, 600, 37 if tls == "none" else 97):
        for direction in ("received", "sent"):
            with Sink(extensions=extensions, lmtp=lmtp, tls=tls) as sink:
                reset = bool(offset % 2)
                sink.cut(**{direction: offset}, connection=0, reset=reset)
                totals.cuts[Break.RESET if reset else Break.FIN] += 1
                with Mailer(
                    host=sink.host, port=sink.port, security=tls, local_hostname="c.x",
                    protocol="lmtp" if lmtp else "smtp",
                    ssl_cafile=None if tls == "none" else sink.cafile,
                ) as mailer:  # fmt: skip
                    results = send_two(mailer)
            delivered = Counter((m.content, to) for m in sink.messages for to in m.rcpt_tos)
            totals.messages.update(check(results, delivered))


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "content"])
def test_a_server_that_falls_silent_costs_one_message_one_timeout(step: str) -> None:
    with Sink(extensions=GROUP) as sink:
        sink.stall(step)
        with Mailer(sink.url, timeout=TIMEOUT, content_timeout=TIMEOUT) as mailer:
            outcomes = check(
                send_two(mailer),
                Counter((m.content, to) for m in sink.messages for to in m.rcpt_tos),
            )
    # It is not tried again: an overloaded server would only get another connection.
    first = Outcome.UNKNOWN if step == "content" else Outcome.NOT_SENT
    assert outcomes == [first, Outcome.ACCEPTED]
