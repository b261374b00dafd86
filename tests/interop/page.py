"""Writes docs/compatibility.md from the results of one run."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from interop import counts
from interop.found import FOUND
from interop.sections import section
from interop.soak import TITLE as UNDER_LOAD
from interop.table import Notes, Table

__all__ = ["page", "written_cells"]

_HEAD = """# Compatibility

What mailbackends does with real servers. This page is written by the tests of
`tests/interop`, which start each server on loopback, play each scenario through
`SMTP`/`LMTP`, `Mailer`, `AsyncMailer`, Django and Flask, and compare what arrived byte by byte
with what was sent. Nothing here is written by hand:

    python -m tox -e interop                         # this installs the servers, too
    MAILBACKENDS_INTEROP_FULL=1 MAILBACKENDS_INTEROP_TABLE=docs/compatibility.md \\
        python -m tox -e interop -- tests/interop tests/faults   # ... and writes this page

With `-k` after the paths, only the cells that are played change.

A tick means that it works through all of them. Where a server cannot do something, a note gives
the reason; where a client could ask for it anyway (TLS, a login, an address), the tests check
that the client reports an error and that nothing is sent.
"""
_HOW = """
Three things differ from production. Dovecot closes idle connections after minutes that no
setting shortens: instead, the process that has the connection is ended. smtp-sink answers 421
to each connection or to none, not to one too many. And for Haraka a small plugin decides about
recipients, stores messages, and switches off Nagle's algorithm (see below).
"""
_PARTICULAR = """
- **Exim** counts RSET as a command without mail: after ten without a message in between it answers
  554 and closes the connection. Where `smtp_accept_max_per_connection` is set, it answers MAIL with
  421 after so many messages.
- **sendmail** (as Debian configures it) refuses the 101st recipient with 452; `Mailer`, Django
  and Flask send the message again to the others. Content with a lone CR or LF gets 421; only
  the interface of smtplib sends such content. After 20 NOOPs it answers slower and slower.
- **OpenSMTPD** has no PIPELINING: each command waits for its reply. The 101st message on
  a connection gets `452 4.5.3 Too many recipients: Too many messages sent`, and the connection
  stays open: `Mailer`, Django and Flask close it, send the message over a new one, and remember
  the limit. The build in Debian 12 announces STARTTLS but cannot complete a handshake (its
  issue 1171).
- **Haraka** folds lines longer than 992 bytes, and refuses lone CRs and LFs. It counts a DATA
  that was pipelined after refused recipients as an error; with `haraka-plugin-limit` the next
  MAIL is answered `450 Too many errors`, and the connection is closed: `Mailer`, Django and Flask
  send the message over a new one. It sends the reply to each pipelined command by itself with
  Nagle's algorithm on, so that a group of commands can wait 40 ms for a delayed
  acknowledgement.
"""
_DONE_FOR = "\n" + Path(__file__).with_name("done_for.md").read_text()
_PLATFORMS = """
These servers and clients run on Linux. mailbackends was never run on Windows; what a Python lacks
there (`sendmsg`, `poll`, `fork`, `fcntl`, Unix sockets) is taken away in
`tests/project/test_without_unix.py`, which sends by each interface without it.
"""
_MAY_CHANGE = """
The comparison is of all bytes. A server may put trace fields (Return-Path, Received,
Delivered-To) in front, store LF instead of CRLF, take a CR or LF that stands alone for
the end of a line, make a space of it or drop the CR, and end the last line. sendmail and
OpenSMTPD add Date, From and Message-ID to a message without them. They may change nothing
else. aiosmtpd, Nodemailer and Haraka store the bytes that came: there the line ends are
compared, too. The boundary between parts differs each time that a message is written, and
is the only thing that is not compared.
"""
_TLS = """
The errors that each client reports, with STARTTLS and, for certificates and versions, with
implicit TLS. Nothing is sent, and nothing is sent in clear text.

| fault | client | error |
| --- | --- | --- |
"""
_BROKEN_OFF = "Broken off at every byte"


def page(table: Table, former: str) -> str:
    """The whole page, with the results of other runs copied from the ``former`` page.

    Those are cells that this run did not play, and with them the numbers; the faults unless
    they were tested in this run; and the load.
    """
    old = written_cells(former)
    cells = {key: table.cells.get(key, old.get(key)) for key in table.order}
    whole = Table({key: text for key, text in cells.items() if text is not None})
    sums = "".join(f"- {line}\n" for line in counts.lines())
    parts = {
        "Scenarios": _scenarios(whole, table.versions),
        "Particular servers": _PARTICULAR,
        "What is done for which server, and why": _DONE_FOR,
        "Platforms": _PLATFORMS,
        "In numbers": f"\nThis run, including failing TLS and the faults of smtp-sink:\n\n{sums}",
        "What a server may change": _MAY_CHANGE,
        "TLS that fails": _TLS + _errors(table.errors),
        "What was found and fixed": "\n" + "".join(
            f"- {one.at}: {one.what}. `{one.test}`\n" for one in FOUND
        ),
        **_copied(former),
    }  # fmt: skip
    for title, is_new in {
        "In numbers": set(table.cells) >= set(table.order),
        "TLS that fails": bool(table.errors),
    }.items():
        if not is_new:
            parts[title] = section(former, title) or parts[title]
    return f"{_HEAD}\n" + "\n".join(
        f"## {title}\n{text.rstrip()}\n" for title, text in parts.items()
    )


def _scenarios(table: Table, versions: Mapping[str, str]) -> str:
    works = sum(not text for text in table.cells.values())
    notes = Notes()
    head = ["scenario", *table.servers]
    rows = [head, ["---"] * len(head), *table.rows(notes)]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    texts = "\n".join(f"{number}. {text}" for text, number in notes.numbers.items())
    clients = table.clients
    return (
        f"\n{len(table.scenarios)} scenarios at {len(table.servers)} servers through "
        f"{len(clients)} clients ({', '.join(clients)}): {len(table.cells)} cells, of which "
        f"{works} work; each of the others has a note.\n\n"
        f"Servers: {', '.join(f'{name} {what}' for name, what in versions.items())}.\n\n"
        f"{body}\n\n{texts}\n{_HOW}"
    )


def written_cells(page: str) -> dict[tuple[str, str, str], str]:
    """The text of each cell of a page: nothing where it works, else the note."""
    text = section(page, "Scenarios") or ""
    named = re.search(r"clients \(([\w, ]+)\)", text)
    clients = named[1].split(", ") if named else []
    notes = dict(re.findall(r"(?m)^(\d+)\. (.*)$", text))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")]
                      for line in lines or ("| |", "| |"))  # fmt: skip
    written = {}
    for scenario, *row in rows:
        for server, cell in zip(head[1:], row, strict=True):
            for one in cell.split("; "):
                mark = re.fullmatch(r"(?:✓|no \((\d+)\))(?: (.*))?", one)
                assert mark is not None, f"{scenario} at {server}: {one!r}"
                for client in mark[2].split(", ") if mark[2] else clients:
                    written[scenario, server, client] = notes[mark[1]] if mark[1] else ""
    return written


def _errors(errors: Mapping[str, Mapping[str, list[str]]]) -> str:
    return "".join(
        f"| {wrong} | {', '.join(clients)} | {text} |\n"
        for wrong, texts in errors.items()
        for text, clients in texts.items()
    )


def _copied(former: str) -> dict[str, str]:
    """The sections that other runs write."""
    texts = {_BROKEN_OFF: section(former, _BROKEN_OFF), UNDER_LOAD: section(former, UNDER_LOAD)}
    faults = sys.modules.get("faults.totals")
    if faults is not None and faults.cuts:
        sums = "".join(f"- {line}\n" for line in faults.lines())
        texts[_BROKEN_OFF] = (
            "\n`tests/faults` ends connections at each byte that a dialogue has, and compares "
            f"the outcome that the\ncaller got with the messages that the server has:\n\n{sums}"
        )
    return {title: text for title, text in texts.items() if text}
