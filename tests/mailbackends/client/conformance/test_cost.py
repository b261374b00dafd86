"""What a call costs in system calls, beside the standard library: counts, never times."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mailbackends.transport import stream
from support.conformance import OURS, THEIRS, Library
from support.talk import Talk, TalkServer

SYSTEM_CALLS = ("sendall", "recv", "recv_into", "poll", "settimeout", "gettimeout", "setblocking")
A, B, C = "a@a.test", "b@b.test", "c@c.test"


def counted(lib: Library, call: Callable[[Any], Any], talk: Talk | None = None) -> Counter[str]:
    """The socket's calls during ``call`` with a client that has sent EHLO."""
    seen: Counter[str] = Counter()

    def count(frame: object, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in SYSTEM_CALLS:
            seen["recv" if function.__name__ == "recv_into" else function.__name__] += 1

    with TalkServer(talk or Talk()) as server:
        client = lib.SMTP(server.host, server.port, "client.test", timeout=5)
        client.ehlo()
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            call(client)
        finally:
            sys.setprofile(before)
        client.close()
    del seen["gettimeout"]  # no system call
    return seen


@pytest.mark.parametrize(
    ("call", "round_trips"),
    [
        (lambda client: client.docmd("NOOP"), 1),
        (lambda client: client.noop(), 1),
        (lambda client: client.mail(A), 1),
        (lambda client: client.data(b"x"), 2),
        (lambda client: client.sendmail(A, [B, C], b"x"), 5),
    ],
)
def test_a_round_trip_is_one_poll_one_write_and_one_read(
    call: Callable[[Any], Any], round_trips: int
) -> None:
    assert counted(THEIRS, call) == {"sendall": round_trips, "recv": round_trips}
    # The poll looks for unexpected replies; docs/smtplib.md: `unasked-reply`
    expected = {"sendall": round_trips, "recv": round_trips, "poll": round_trips}
    assert counted(OURS, call) == expected


def test_a_reply_of_many_lines_is_one_read() -> None:
    talk = Talk(help="".join(f"214-{n}\r\n" for n in range(50)) + "214 end")
    assert counted(OURS, lambda client: client.help(), talk)["recv"] == 1


def test_without_poll_the_socket_is_read_before_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has none, and with gevent, whose poll() is its own."""
    monkeypatch.setattr(stream, "select", SimpleNamespace())
    seen = counted(OURS, lambda client: client.noop())
    assert (seen["sendall"], seen["recv"], seen["poll"]) == (1, 2, 0)
    with TalkServer(Talk(connect=b"220 hi\r\n421 idle\r\n")) as server:
        client = OURS.SMTP(server.host, server.port, "client.test", timeout=5)
        assert client.noop() == (421, b"idle")
        assert client.sock is None
