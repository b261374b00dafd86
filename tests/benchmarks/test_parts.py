"""The foundations of the benchmark: its check of contents, its proxy, its profiles."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from bench import installed
from bench.checking import Arrived, WrongContent, check
from bench.profiling import PARTS, parts
from bench.proxy import Proxy
from bench.samples import SAMPLES, SENDER, WARM_UP


def arrived(name: str, content: bytes | None = None, *, dot_stuffed: bool = False) -> Arrived:
    sample = SAMPLES[name]
    rcpts = [f"RCPT TO:<{address}>".encode() for address in sample.recipients]
    content = sample.wire_bytes() if content is None else content
    return Arrived(f"MAIL FROM:<{SENDER}>".encode(), rcpts, [content], dot_stuffed)


@pytest.mark.parametrize("name", ["text", "html", "many", "5mb"])
def test_a_correct_message_passes_the_check(name: str) -> None:
    content = SAMPLES[name].wire_bytes()
    stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    messages = [arrived(WARM_UP.name), arrived(name), arrived(name, stuffed, dot_stuffed=True)]
    assert check(messages, name, 2, 1) == {"messages": 2, "bytes": 2 * len(content)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b"tenth order", b"tenth_order"),
        lambda content: content.replace(b"\r\n..", b"\r\n."),
        lambda content: content.replace(b"Your order", b"Our order"),
        lambda content: content[: len(content) // 2],
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_damage_is_noticed_after_correct_messages_too(damage, is_first: bool) -> None:
    damaged = arrived("text", damage(SAMPLES["text"].wire_bytes()))
    messages = [damaged] if is_first else [arrived("text"), arrived("text"), damaged]
    with pytest.raises(WrongContent):
        check(messages, "text", len(messages), 0)


def test_a_missing_message_or_wrong_recipients_fail_the_check() -> None:
    with pytest.raises(WrongContent, match="1 messages arrived, 2 were sent"):
        check([arrived("text")], "text", 2, 0)
    with pytest.raises(WrongContent, match="recipients"):
        check([arrived("text")], "many", 1, 0)


def test_the_proxy_keeps_the_order_and_the_end_and_delays_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"greeting")
                taken = b""
                while data := sock.recv(65536):
                    taken += data
                sock.sendall(taken)

        server = threading.Thread(target=serve)
        server.start()
        question = {"target": listener.getsockname()[1], "round_trip": 0.05}
        port = Proxy().handle(question)["port"]
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert client.recv(100) == b"greeting"
            # Two round trips: SYN and its reply, then the greeting after the third packet.
            assert time.monotonic() - start >= 0.1
            sent = bytes(range(256)) * 8000
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            taken = b""
            while data := client.recv(65536):
                taken += data
        assert taken == sent
        server.join(10)


def test_a_function_without_a_part_counts_for_its_callers() -> None:
    flatten = ("/email/generator.py", 1, "flatten")
    message = ("/django/core/mail/message.py", 2, "message")
    helper, builtin = ("/email/header.py", 3, "encode"), ("~", 0, "<method 'x'>")
    stats = {
        flatten: (1, 1, 1.0, 4.0, {}),
        message: (1, 1, 2.0, 9.0, {}),
        # A quarter of its time for the one, the rest for the other; and for itself.
        helper: (4, 4, 4.0, 8.0, {
            flatten: (1, 1, 1.0, 2.0), message: (1, 1, 3.0, 6.0), helper: (2, 2, 0.0, 0.0),
        }),
        builtin: (9, 9, 1.0, 1.0, {helper: (9, 9, 1.0, 1.0)}),
    }  # fmt: skip
    found = parts(stats, cpu=8.0)
    assert set(found) == set(PARTS)
    assert found["serialise"] == pytest.approx(1 + 1.25)
    assert found["build"] == pytest.approx(2 + 3.75)
    assert sum(found.values()) == pytest.approx(8.0)


def test_the_profilers_own_time_is_subtracted_per_call() -> None:
    called_often = ("/email/generator.py", 1, "flatten")
    called_once = ("/django/core/mail/message.py", 2, "message")
    stats = {called_often: (99, 99, 9.9, 0, {}), called_once: (1, 1, 2.1, 0, {})}
    found = parts(stats, cpu=2.0)
    assert found["build"] == pytest.approx(2.0)
    assert found["serialise"] == pytest.approx(0.0)


def test_an_outdated_nodemailer_is_not_used(tmp_path: Path, monkeypatch) -> None:
    module = tmp_path / "mailbackends-benchmarks" / "node_modules" / "nodemailer"
    module.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    install = installed._installed.__wrapped__
    monkeypatch.setenv("PATH", "")
    with pytest.raises(installed.Missing, match="npm is not installed"):
        install()
    # An npm that knows the current version, and cannot install it.
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\ntest "$1" = view && echo 10.6.1\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (module / "package.json").write_text('{"version": "10.6.0"}')
    with pytest.raises(installed.Missing, match="npm could not get nodemailer"):
        install()
    (module / "package.json").write_text('{"version": "10.6.1"}')
    assert install() == module
    monkeypatch.setattr(installed, "_installed", install)
    assert installed.versions({"nodemailer"})["Nodemailer"] == "10.6.1"
    assert installed.versions({"core"}) == {}
