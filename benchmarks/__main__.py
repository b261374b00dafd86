"""Compare mailbackends with other clients: one server, interleaved rounds, medians, ratios."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

try:
    from bench.cases import CASES, DEFAULT, QUICK
    from bench.document import fill
    from bench.lines import Failed
    from bench.progress import Progress
    from bench.report import show
    from bench.results import Results
    from bench.roster import CLIENTS
    from bench.running import Bench, Plan
    from bench.samples import SAMPLES
except ModuleNotFoundError as error:
    sys.exit(
        f"The module {error.name!r} is not installed. "
        "`python -m tox -e bench` installs what is needed and runs this."
    )

EXAMPLES = """
examples:
  python benchmarks --quick                       a first look, in less than a minute
  python benchmarks --sizes 5mb --delays 0        one kind of message, without delay
  python benchmarks --cases 'text-*-tls' --clients 'django-*' 'ours-*' --rounds 11
  python benchmarks --cases all --json all.json   everything there is
  python benchmarks --profile                     and where the time goes, by part
  python benchmarks --delays 0 --core 1           on one core of a busy machine
  python benchmarks --from all.json --plots .     show an earlier measurement

`python -m tox -e bench -- OPTIONS` takes the same options, and installs what is needed.
Nodemailer is measured if node and npm are installed, Postfix's smtp-source if it is installed.
Exit status: 0 measured, 1 a client failed or wrong content arrived, 2 wrong options.
"""

PROFILED = ("text-0-plain", "text-0-tls", "5mb-0-plain")
PROFILED_CLIENTS = ("django-batch", "ours-django-batch", "ours-batch", "ours-bytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        _list()
        return 0
    if given.core is not None:
        if not hasattr(os, "sched_setaffinity"):
            parser.error("--core is not supported on this system")
        try:
            os.sched_setaffinity(0, {given.core})
        except OSError as error:
            parser.error(f"--core {given.core}: {error}")
    status = 0
    if given.read:
        results = Results.load(given.read)
    else:
        names = QUICK if given.quick else DEFAULT
        cases = [CASES[n] for n in _chosen(parser, "case", given.cases, CASES, names)]
        cases = [c for c in cases if not given.sizes or c.sample.name in given.sizes]
        cases = [c for c in cases if not given.delays or c.delay in given.delays]
        clients = [CLIENTS[n] for n in _chosen(parser, "client", given.clients, CLIENTS, CLIENTS)]
        without = _chosen(parser, "client", given.without, CLIENTS, ())
        clients = [entry for entry in clients if entry.name not in without]
        if not cases or not clients:
            parser.error("no case or client is left to measure: see --list")
        if given.quiet < 4:
            parser.error(f"--quiet {given.quiet:g}: upkeep needs at least 4 seconds")
        rounds = given.rounds or (2 if given.quick else 7)
        plan = Plan(cases, clients, rounds, is_quick=given.quick, quiet=given.quiet)
        try:
            status, results = _measured(plan, profile=given.profile)
        except Failed as error:
            print(f"The benchmark failed. {error}", file=sys.stderr)
            return 1
    if given.optimised:
        results.optimised = Results.load(given.optimised)
    if given.before:
        results.before = Results.load(given.before).profiles
    show(results)
    if given.json:
        results.save(given.json)
    if given.plots:
        from bench.plots import draw

        draw(results, given.plots)
    for page in given.document:
        fill(page, results)
    return status


def _measured(plan: Plan, *, profile: bool) -> tuple[int, Results]:
    """The exit status, and the results; of the finished cases, if interrupted."""
    with Progress(len(plan.cases)) as progress, Bench(plan, progress) as bench:
        try:
            bench.run()
            if profile:
                for case in (c for c in plan.cases if c.name in PROFILED):
                    for entry in (e for e in plan.clients if e.name in PROFILED_CLIENTS):
                        bench.profile(case, entry)
        except KeyboardInterrupt:
            progress.note("Interrupted: these are the results so far.")
            return 130, bench.results
        return 0, bench.results


def _chosen(
    parser: argparse.ArgumentParser,
    kind: str,
    patterns: Iterable[str] | None,
    known: Iterable[str],
    default: Iterable[str],
) -> list[str]:
    """The names that match a pattern, in their original order."""
    if patterns is None:
        return list(default)
    chosen: set[str] = set()
    for pattern in patterns:
        found = list(known) if pattern == "all" else fnmatch.filter(known, pattern)
        if not found:
            near = difflib.get_close_matches(pattern, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ": see --list"
            parser.error(f"unknown {kind} {pattern!r}{hint}")
        chosen.update(found)
    return [name for name in known if name in chosen]


def _list() -> None:
    print("cases (* by default):")
    for case in CASES.values():
        print(f"  {'*' if case.name in DEFAULT else ' '} {case.name:14} {case.title}")
    print("clients:")
    for entry in CLIENTS.values():
        print(f"    {entry.name:22} {entry.title}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument("--list", action="store_true", help="show all cases and clients")
    what.add_argument("--cases", nargs="+", metavar="CASE", help="patterns, or 'all'")
    what.add_argument("--sizes", nargs="+", choices=list(SAMPLES), help="only these messages")
    what.add_argument(
        "--delays", nargs="+", type=int, choices=(0, 20, 40, 80), help="only these (ms)"
    )
    what.add_argument("--clients", nargs="+", metavar="CLIENT", help="patterns (default: all)")
    what.add_argument(
        "--without", nargs="+", metavar="CLIENT", help="patterns of clients to leave out"
    )
    what.add_argument("--rounds", type=_positive, metavar="N", help="default: 7, or 2 if quick")
    what.add_argument(
        "--quiet",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long a quiet minute is, 4 or more (default: 10, with max_idle=9.5)",
    )
    what.add_argument("--quick", action="store_true", help="few cases, few messages, few rounds")
    what.add_argument(
        "--core",
        type=int,
        metavar="N",
        help="run all processes on this core: less noise without delay",
    )
    what.add_argument("--profile", action="store_true", help="also show where the time goes")
    out = parser.add_argument_group("output")
    out.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    out.add_argument("--plots", type=Path, metavar="DIR", help="draw plots as SVG")
    out.add_argument(
        "--document", type=Path, nargs="+", default=[], metavar="FILE", help="update these pages"
    )
    out.add_argument(
        "--from", type=Path, dest="read", metavar="FILE", help="read results instead of measuring"
    )
    out.add_argument("--before", type=Path, metavar="FILE", help="earlier profiles for comparison")
    out.add_argument(
        "--optimised",
        type=Path,
        metavar="FILE",
        help="results of a run with an optimised interpreter, which are shown beside these",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer from 1, got {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())
