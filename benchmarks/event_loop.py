"""AsyncMailer beside the blocking Mailer and aiosmtplib, and 1,000 sends at once.

    python benchmarks/event_loop.py [--rounds 7] [--loop uvloop]

The clients take turns, as in ``python benchmarks``; one line for each figure is printed, with its
target. The waits are those of ``send_message``, from the call to the receipt.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import ssl
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

from bench import certificates  # noqa: E402
from bench.cases import CASES  # noqa: E402
from bench.lines import Process, python  # noqa: E402
from bench.progress import Progress  # noqa: E402
from bench.results import Results  # noqa: E402
from bench.roster import CLIENTS  # noqa: E402
from bench.running import Bench, Plan  # noqa: E402
from bench.samples import SAMPLES  # noqa: E402
from bench.sink import LOGIN  # noqa: E402
from mailbackends import AsyncMailer  # noqa: E402

_BURST = 1000
_CONNECTIONS = 4
_ROUNDS = 5


def main() -> None:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=_BURST, help="of a burst")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--quick", action="store_true", help="few messages")
    given = parser.parse_args()
    names = ("text-0-plain", "text-0-tls", "text-80-plain", "text-80-tls")
    clients = ("ours-core", "ours-async", "aiosmtplib-kept")
    plan = Plan(
        [CASES[name] for name in names],
        [CLIENTS[name] for name in clients],
        given.rounds,
        is_quick=given.quick,
    )
    with Progress(len(names)) as progress, Bench(plan, progress) as bench:
        results = bench.run()
    machine = {key: value for key, value in results.machine.items() if key != "load"}
    print(" ".join(f"{key}: {value};" for key, value in machine.items()))
    for name in names:
        _show(results, name)
    for security in ("none", "starttls"):
        _burst(security, given.messages, given.loop)


def _show(results: Results, case: str) -> None:
    cells = {cell.client: cell for cell in results.cells if cell.case == case}
    ours, blocking = cells["ours-async"], cells["ours-core"]
    if CASES[case].delay:
        [line] = (line for line in results.lines if line.delay == CASES[case].delay)
        trips = ours.median_wall / line.round_trip
        print(f"{case}: {trips:.2f} round trips for a message (at most 1.1)")
        return
    rate = statistics.median(
        theirs / mine for theirs, mine in zip(cells["aiosmtplib-kept"].wall, ours.wall, strict=True)
    )
    cpu = statistics.median(
        mine / theirs for mine, theirs in zip(ours.cpu, blocking.cpu, strict=True)
    )
    print(f"{case}: {1 / ours.median_wall:.0f} messages/s, {rate:.2f} x aiosmtplib (at least 3)")
    print(f"{case}: CPU {ours.median_cpu * 1e6:.0f} us, {cpu:.2f} x the Mailer's (at most 1.3)")


def _burst(security: str, count: int, loop: str) -> None:
    """So many sends at once, several times: accepted, the waits, and the growth of memory."""
    with tempfile.TemporaryDirectory() as directory:
        cafile, certificate = certificates.write(Path(directory))
        sink = Process("sink", python("bench.sink", certificate))
        try:
            is_tls = security == "starttls"
            face = {"security": security, "login": is_tls, "chunking": True}
            port = sink.ask({"do": "listen", **face})["port"]
            sink.ask({"do": "begin"})
            options: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": port,
                "security": security,
                "local_hostname": "client.example",
                "pool_size": _CONNECTIONS,
                "pool_timeout": None,
            }
            if is_tls:
                options["username"], options["password"] = LOGIN
                options["ssl_context"] = ssl.create_default_context(cafile=cafile)
            factory = None
            if loop == "uvloop":
                import uvloop

                factory = uvloop.new_event_loop
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(_sends(options, count))
        finally:
            sink.close()


async def _sends(options: dict[str, Any], count: int) -> None:
    waits: list[float] = []
    longest = (0.0, 0.0)
    sizes: list[int] = []
    accepted = 0

    async def send(mailer: AsyncMailer, message: Any) -> None:
        nonlocal accepted
        began = time.perf_counter()
        receipt = await mailer.send_message(message)
        waits.append(time.perf_counter() - began)
        accepted += bool(receipt.accepted)

    async with AsyncMailer(**options) as mailer:
        for number in range(_ROUNDS):
            if number == _ROUNDS - 2:
                longest = max(waits), max(waits) / statistics.median(waits)
                tracemalloc.start()
            waits.clear()
            messages = [SAMPLES["text"].email_message() for _ in range(count)]
            sending = [asyncio.create_task(send(mailer, message)) for message in messages]
            await asyncio.wait(sending)
            del sending, messages
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        assert mailer.stats().pool.idle <= _CONNECTIONS
    tracemalloc.stop()
    name = "STARTTLS and login" if "username" in options else "in clear"
    print(
        f"{count} sends at once over {_CONNECTIONS} connections, {name}: {accepted} of "
        f"{count * _ROUNDS} accepted in {_ROUNDS} rounds, longest wait {longest[0]:.2f} s, "
        f"{longest[1]:.2f} x the median (at most 3), "
        f"memory {(sizes[-1] - sizes[-2]) / 1024:+.1f} KiB in the last round"
    )


if __name__ == "__main__":
    main()
