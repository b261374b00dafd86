"""What connecting does beyond the standard library's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from support.conformance import OURS
from support.talk import Talk, TalkServer


@pytest.fixture
def server() -> Iterator[TalkServer]:
    with TalkServer(Talk()) as server:
        yield server


def test_the_address_literal_is_ipv6_if_there_is_no_ipv4_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docs/smtplib.md: `hostname-literal`"""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    def unknown(*names: str) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getfqdn", lambda: "client")
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    listener = socket.socket(socket.AF_INET6)
    try:
        listener.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    listener.listen()

    def greet() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"220 hi\r\n")
            sock.recv(100)
            sock.sendall(b"221 bye\r\n")

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    with OURS.SMTP("::1", listener.getsockname()[1], timeout=5) as client:
        assert client.local_hostname == "[IPv6:::1]"
    thread.join(5)
    listener.close()


@pytest.mark.parametrize(
    "fqdn",
    [
        "büro.example",
        "a b.example",
        "a\nb.example",
        "my_host.example.com",
        "host.example.com.",
        "-host.example.com",
        "host-.example.com",
        "host..example.com",
        "10.0.0.7",
        "localhost",
    ],
)
def test_a_host_name_that_is_not_a_domain_name_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fqdn: str
) -> None:
    """docs/smtplib.md: `hostname-literal`"""
    monkeypatch.setattr(socket, "getfqdn", lambda: fqdn)
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "192.0.2.7")
    assert OURS.SMTP().local_hostname == "[192.0.2.7]"


def test_small_writes_are_not_delayed(server: TalkServer) -> None:
    """docs/smtplib.md: `nodelay`"""
    with OURS.SMTP(server.host, server.port, "a.test", 5) as client:
        assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_an_earlier_connection_is_closed(server: TalkServer) -> None:
    """docs/smtplib.md: `reconnect`"""
    with OURS.SMTP(server.host, server.port, "a.test", 5) as client:
        first = client.sock
        client.connect(server.host, server.port)
        assert first.fileno() == -1
