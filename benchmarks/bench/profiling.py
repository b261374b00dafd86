"""Where a client's time goes: cProfile's times of its functions, summed by part.

A function belongs to a part by its module. The time of any other function, such as those of the
email package and the builtins, belongs to its caller. The profiler makes calls more expensive
than they are, so the results are shares of a time that was measured without it.
"""

from __future__ import annotations

import cProfile
import pstats
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

__all__ = ["PARTS", "profiled"]

PARTS = (
    "build",
    "addresses",
    "serialise",
    "stuffing",
    "dialogue",
    "pool and mailer",
    "TLS",
    "system calls",
    "other",
)
"""In the order in which a message passes through them."""

Function = tuple[str, int, str]

# How many calls up a builtin's caller is looked for: beyond that it is recursion.
_LEVELS = 60

# The first pattern that is found in "file:function" decides.
_RULES: tuple[tuple[str, str], ...] = (
    (r"'(sendmsg|send|sendall|recv|recv_into|poll|connect|connect_ex|close|register|shutdown)' of "
     r"'(_socket\.|select\.)|select\.poll|built-in method select\.|getaddrinfo", "system calls"),
    (r"'(write|read|do_handshake|pending|shutdown)' of '_ssl\.|_ssl\.|/ssl\.py:", "TLS"),
    (r":dot_stuffed|smtplib\.py:_?(quote_?(data|periods)|fix_eols)", "stuffing"),
    (r"/email/generator\.py:flatten|"
     r"mime/(attachment|content|email_internals|folding|headers|pieces|serializer|writer)|"
     r"/email/message\.py:as_(bytes|string)|django/core/mail/message\.py:as_(bytes|string)|"
     r"flask_mail/.*:as_(bytes|string)|aiosmtplib/email\.py:flatten", "serialise"),
    (r"sanitize_address|prep_address|(protocol|mime)/(envelope|address|idna|parameters|delivery_opt)|"
     r"smtplib\.py:quoteaddr|_integration/addresses\.py|django/core/mail/message\.py:recipients|"
     r"flask_mail/.*:send_to|aiosmtplib/email\.py", "addresses"),
    (r"django/core/mail/message\.py|django_integration/(messages|fast|related|attachments)|"
     r"flask_mail/.*:_message|"
     r"flask_integration/(mime|written|message|attachment|headers|html)", "build"),
    (r"protocol/|mailbackends/reply\.py|transport/|smtplib\.py|mailbackends/client/|"
     r"aiosmtplib/|asyncio/", "dialogue"),
    (r"mailbackends/(pool|mailer|events|outcome|errors)|_integration/", "pool and mailer"),
)  # fmt: skip
_PATTERNS = [(re.compile(pattern), part) for pattern, part in _RULES]


def profiled(call: Callable[[], None], cpu: float) -> Mapping[str, Any]:
    """Seconds of processor time for each part; ``cpu`` is the time of the call without the
    profiler.
    """
    # Process time, because waiting is not work.
    profiler = cProfile.Profile(getattr(time, "thread_time", time.process_time))
    profiler.runcall(call)
    stats: Any = pstats.Stats(profiler)
    return {"parts": parts(stats.stats, cpu)}


def parts(stats: Mapping[Function, Any], cpu: float) -> dict[str, float]:
    """The own times of all functions, added up by part, so that they come to ``cpu`` in all."""
    own = _without_overhead(stats, cpu)
    totals: defaultdict[str, float] = defaultdict(float)
    pending: Mapping[Function, float] = own
    whole = sum(own.values()) or 1.0
    for _ in range(_LEVELS):
        further: defaultdict[Function, float] = defaultdict(float)
        for function, seconds in pending.items():
            part = _part(function)
            callers = _callers(function, stats)
            if part is None and callers:
                for caller, weight in callers.items():
                    further[caller] += seconds * weight
            else:
                totals[part or "other"] += seconds
        pending = further
        if sum(pending.values()) < whole / 10_000:
            break
    totals["other"] += sum(pending.values())
    return {name: totals[name] / whole * cpu for name in PARTS}


def _without_overhead(stats: Mapping[Function, Any], cpu: float) -> dict[Function, float]:
    """Own times, less what the profiler itself took: about the same for each call."""
    calls = sum(entry[1] for entry in stats.values())
    overhead = max(0.0, sum(entry[2] for entry in stats.values()) - cpu) / max(1, calls)
    return {function: max(0.0, e[2] - overhead * e[1]) for function, e in stats.items()}


@cache
def _part(function: Function) -> str | None:
    name = f"{function[0]}:{function[2]}"
    return next((part for pattern, part in _PATTERNS if pattern.search(name)), None)


def _callers(function: Function, stats: Mapping[Function, Any]) -> dict[Function, float]:
    """Who called a function, with weights that add up to 1."""
    # (calls, primitive calls, own time, time with callees), each as called from there.
    callers = {c: t for c, t in stats[function][4].items() if c != function}
    column = 2 if sum(times[2] for times in callers.values()) else 0
    whole = sum(times[column] for times in callers.values())
    return {caller: times[column] / whole for caller, times in callers.items()} if whole else {}
