"""A fuzzer: servers that say anything, and clients that must bear it.

Whatever a server says, what comes out may only be a result or a documented exception. This
needs hypothesis, but no server and no network::

    python -m tests.fuzz [--minutes 10] [--seed 1] [client] [session] [parser]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

# Where `support` is: with pytest, its own option says so.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from .targets import TARGETS, seen

PER_ROUND = 500


def main() -> int:
    """Fuzz until the time is over; a failure ends it with the smallest case that shows it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz with servers that say anything."
    )
    parser.add_argument("targets", nargs="*", default=sorted(TARGETS), metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run of this seed")
    options = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {first}, {options.minutes:g} minutes, targets: {' '.join(options.targets)}")
    started = time.monotonic()
    rounds = 0
    while time.monotonic() - started < options.minutes * 60:
        for name in options.targets:
            function, strategies = TARGETS[name]
            test = settings(
                max_examples=PER_ROUND,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )(given(*strategies)(function))
            seed(first + rounds)(test)()
        rounds += 1
    for what, count in sorted(seen.items()):
        print(f"{count:10}  {what}")
    total = rounds * PER_ROUND * len(options.targets)
    print(f"{total} cases in {time.monotonic() - started:.0f} s, no undocumented exception")
    return 0


if __name__ == "__main__":
    sys.exit(main())
