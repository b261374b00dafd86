"""docs/compatibility.md, from what one run has seen."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from interop import tally
from interop.found import FOUND
from interop.sections import section
from interop.soak import TITLE as UNDER_LOAD
from interop.table import Notes, Table

__all__ = ["page"]

_HEAD = """# Compatibility

What mailbackends does with real servers. This page is written by the tests of
`tests/interop`, which start each server on loopback, play each scenario through
`SMTP`/`LMTP`, `Mailer`, Django and Flask, and compare what arrived byte by byte with what
was sent. Nothing here is written by hand:

    python -m tox -e interop                         # the servers are installed by this, too
    MAILBACKENDS_INTEROP_FULL=1 MAILBACKENDS_INTEROP_TABLE=docs/compatibility.md \\
        python -m tox -e interop -- tests/interop tests/faults   # ... and writes this page

A tick: it works through all four. Where a server cannot do something, a note says so; where
a client could ask for it all the same (TLS, a login, an address), the tests show that it is
told of, and that nothing is sent.
"""
_HOW = """
Two things are done otherwise than in life. Dovecot hangs up after minutes that no setting
shortens: the process that holds the idle connection is ended in its place. And smtp-sink
says 421 to each connection or to none: there it is not one too many.
"""
_MAY_CHANGE = """
The comparison is of all bytes. A server may put trace fields (Return-Path, Received,
Delivered-To) in front, store LF in place of CRLF, take a CR or LF that stands alone for
the end of a line, make a space of such a CR or drop it, and end the last line. It may
change nothing else. aiosmtpd and Nodemailer store what came: there the line ends are
compared, too. The boundary between parts is another each time that a message is made, and
is the one thing that is not compared.
"""
_TLS = """
What the caller is told, through each client by STARTTLS and, for certificates and versions, from
the first byte; nothing is sent, and nothing goes in clear.

| what is wrong | through | what the error says |
| --- | --- | --- |
"""
_BROKEN_OFF = "Broken off at every byte"


def page(table: Table, former: str) -> str:
    """The whole page. What this run has not seen (see `_kept`) is as in the ``former`` one."""
    works = sum(not text for text in table.cells.values())
    versions = ", ".join(f"{name} {what}" for name, what in table.versions.items())
    notes = Notes()
    head = ["scenario", *table.servers]
    rows = [head, ["---"] * len(head), *table.rows(notes)]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    texts = "\n".join(f"{number}. {text}" for text, number in notes.numbers.items())
    sums = "".join(f"- {line}\n" for line in tally.lines())
    parts = {
        "Scenarios": (
            f"\n{len(table.scenarios)} scenarios at {len(table.servers)} servers through 4 "
            f"clients: {len(table.cells)} cells, {works} of which work; each of the "
            f"others has its note.\n\nServers: {versions}.\n\n{body}\n\n{texts}\n{_HOW}"
        ),
        "In numbers": f"\nIn this run, bad TLS and the faults of smtp-sink included:\n\n{sums}",
        "What a server may change": _MAY_CHANGE,
        "TLS that fails": _TLS + _errors(table.errors),
        "What was found and mended": "\n" + "".join(
            f"- {one.at}: {one.what}. `{one.test}`\n" for one in FOUND
        ),
        **_kept(former),
    }  # fmt: skip
    return f"{_HEAD}\n" + "\n".join(
        f"## {title}\n{text.rstrip()}\n" for title, text in parts.items()
    )


def _errors(errors: Mapping[str, Mapping[str, list[str]]]) -> str:
    return "".join(
        f"| {wrong} | {', '.join(clients)} | {text} |\n"
        for wrong, said in errors.items()
        for text, clients in said.items()
    )


def _kept(former: str) -> dict[str, str]:
    """What other runs have shown: the faults unless they ran with this one, and the load."""
    texts = {_BROKEN_OFF: section(former, _BROKEN_OFF), UNDER_LOAD: section(former, UNDER_LOAD)}
    faults = sys.modules.get("faults.tally")
    if faults is not None and faults.cuts:
        sums = "".join(f"- {line}\n" for line in faults.lines())
        texts[_BROKEN_OFF] = (
            "\n`tests/faults` ends connections at each byte that a dialogue has, and compares "
            f"what the caller was\ntold with what the server has:\n\n{sums}"
        )
    return {title: text for title, text in texts.items() if text}
