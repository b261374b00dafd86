"""Constructors, connect(), the greeting, ``with``: as the standard library has them."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.conformance import OURS, THEIRS, Library, Raised, Scenario, World, on_client
from support.talk import HANG_UP, SILENCE, Talk, TalkServer


def constructed(**changes: Any) -> Any:
    return lambda world: bool(world.client(**changes))


def unconnected(world: World, **options: Any) -> Any:
    return world.keep(world.lib.SMTP(local_hostname="client.test", **options))


def reconnected(world: World) -> Any:
    client = world.client()
    client.ehlo()
    client.close()
    return client.connect(world.host, world.port)[0], client.sendmail("a@b.test", "c@d.test", "x")


def hidden_by_exit(world: World) -> Any:
    with world.client():
        raise KeyError("the block's own")


def in_block(call: Any) -> Any:
    def run(world: World) -> Any:
        with world.client() as client:
            return call(client)

    return run


SCENARIOS = [
    Scenario("a greeting", constructed()),
    Scenario("a greeting of many lines", constructed(), Talk(connect="220-a\r\n220 b")),
    *(
        Scenario(f"a greeting with {code}", constructed(), Talk(connect=f"{code} no"))
        for code in (199, 200, 221, 250, 354, 421, 450, 554)
    ),
    Scenario("connect with 220", lambda w: unconnected(w).connect(w.host, w.port)),
    Scenario(
        "connect with a refusal",
        lambda w: unconnected(w).connect(w.host, w.port),
        Talk(connect="554 no"),
    ),
    Scenario("no greeting but the end", constructed(), Talk(connect=HANG_UP)),
    Scenario("name and port in one", lambda w: w.client(host=f"{w.host}:{w.port}", port=0).ehlo()),
    Scenario(
        "connect name and port in one", lambda w: unconnected(w).connect(f"{w.host}:{w.port}")
    ),
    Scenario("a port that is not a number", lambda w: unconnected(w).connect("localhost:bogus")),
    Scenario("a port that is missing", lambda w: unconnected(w).connect("localhost:")),
    Scenario(
        "a port that is not a number, in the constructor",
        constructed(host="localhost:bogus", port=0),
    ),
    Scenario("too many colons", lambda w: isinstance(failure(w, "a:b:c", 0), OSError)),
    Scenario("timeout 0", constructed(timeout=0)),
    Scenario(
        "timeout 0, and connect later", lambda w: unconnected(w, timeout=0).connect(w.host, w.port)
    ),
    Scenario("timeout 0.0", constructed(timeout=0.0)),
    Scenario("no host", lambda w: unconnected(w).sock),
    Scenario(
        "a source address", lambda w: w.client(source_address=("127.0.0.1", 0)).source_address
    ),
    Scenario(
        "a source address given to connect",
        lambda w: (
            unconnected(w).connect(w.host, w.port, ("127.0.0.1", 0)),
            w.clients[0].source_address,
        ),
    ),
    Scenario("a source address that is not ours", constructed(source_address=("192.0.2.1", 0))),
    Scenario("the timeout of the socket", lambda w: w.client(timeout=7).sock.gettimeout()),
    Scenario("no timeout", lambda w: w.client(timeout=None).sock.gettimeout()),
    Scenario(
        "the timeout stays after replies in pieces", lambda w: slow_reply(w.client(timeout=7))
    ),
    Scenario(
        "positional arguments",
        lambda w: w.keep(w.lib.SMTP(w.host, w.port, "a.test", 5, None)).ehlo(),
    ),
    # with
    Scenario("with", in_block(lambda c: c.noop())),
    Scenario("with nothing in it", in_block(lambda c: None)),
    Scenario("with, and quit in it", in_block(lambda c: c.quit())),
    Scenario("with, and close in it", in_block(lambda c: c.close())),
    Scenario("with, and QUIT refused", in_block(lambda c: c.noop()), Talk(quit="500 stay")),
    Scenario(
        "with, and QUIT answered by the end", in_block(lambda c: c.noop()), Talk(quit=HANG_UP)
    ),
    Scenario("with, and an exception", in_block(lambda c: c.docmd("a\nb"))),
    Scenario(
        "with, and the end of the connection", in_block(lambda c: c.noop()), Talk(noop=HANG_UP)
    ),
    Scenario(
        "with, an exception, and QUIT refused",
        hidden_by_exit,
        Talk(quit="500 stay"),
        differs="exit-keeps-error",
        ours={"result": Raised("KeyError", (), '"the block\'s own"')},
    ),
    # again
    Scenario("quit and connect again", lambda w: again(w, quit=True)),
    Scenario(
        "close and connect again, and EHLO is sent again",
        reconnected,
        differs="reconnect",
        ours={
            "wire": [
                b"ehlo client.test\r\n",
                b"ehlo client.test\r\nmail from:<a@b.test> size=1\r\nrcpt to:<c@d.test>\r\n"
                b"data\r\nx\r\n.\r\n",
            ],
        },
    ),
    Scenario(
        "connect while connected",
        lambda w: again(w, quit=False),
        differs="reconnect",
        ours={
            "does_esmtp": False,
            "ehlo_resp": None,
            "esmtp_features": {},
        },
    ),
    # 421 and timeouts
    Scenario(
        "connect with 421",
        lambda w: unconnected(w).connect(w.host, w.port),
        Talk(connect="421 busy"),
        differs="421-closes",
        ours={"closed": True},
    ),
    Scenario(
        "421 to any command",
        on_client(lambda c: c.noop()),
        Talk(noop="421 bye"),
        differs="421-closes",
        ours={"closed": True},
    ),
    Scenario(
        "421 to ehlo",
        on_client(lambda c: c.ehlo_or_helo_if_needed()),
        Talk(ehlo="421 bye"),
        differs="421-closes",
        ours={"result": Raised("SMTPHeloError", (421, b"bye"), "(421, b'bye')")},
    ),
    Scenario(
        "no reply in time",
        lambda w: w.client(timeout=0.2).noop(),
        Talk(noop=SILENCE),
        differs="timeout-type",
        ours={
            "result": Raised(
                "SMTPTimeoutError",
                ("Connection unexpectedly closed: timed out",),
                "Connection unexpectedly closed: timed out",
            )
        },
    ),
    Scenario(
        "no greeting in time",
        constructed(timeout=0.2),
        Talk(connect=SILENCE),
        differs="timeout-type",
        ours={
            "result": Raised(
                "SMTPTimeoutError",
                ("Connection unexpectedly closed: timed out",),
                "Connection unexpectedly closed: timed out",
            )
        },
    ),
]


def failure(world: World, host: str, port: int) -> Any:
    try:
        return unconnected(world).connect(host, port)
    except Exception as error:
        return error


def slow_reply(client: Any) -> Any:
    client.sock.settimeout(6)
    return client.noop(), client.sock.gettimeout()


def again(world: World, quit: bool) -> Any:
    client = world.client()
    client.ehlo()
    first = client.sock
    if quit:
        client.quit()
    greeting = client.connect(world.host, world.port)
    first.close()
    return greeting


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_connecting_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


@pytest.fixture(params=[THEIRS, OURS], ids=["smtplib", "mailbackends"])
def lib(request: pytest.FixtureRequest) -> Library:
    library: Library = request.param
    return library


@pytest.fixture
def server() -> Iterator[TalkServer]:
    with TalkServer(Talk()) as server:
        yield server


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_refused_connection_is_the_operating_systems_error(lib: Library) -> None:
    client = lib.SMTP(local_hostname="a.test")
    with pytest.raises(ConnectionRefusedError):
        client.connect("127.0.0.1", closed_port())
    assert client.sock is None


def test_an_unknown_name_is_the_resolvers_error(
    lib: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*args: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(socket.gaierror):
        lib.SMTP("no.such.host.test", local_hostname="a.test")


def test_the_default_timeout_is_the_sockets(lib: Library, server: TalkServer) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(11)
    try:
        client = lib.SMTP(server.host, server.port, "a.test")
    finally:
        socket.setdefaulttimeout(before)
    with client:
        assert client.sock.gettimeout() == 11


@pytest.mark.parametrize(
    ("fqdn", "address", "expected"),
    [
        ("client.example", "192.0.2.7", "client.example"),
        ("client", "192.0.2.7", "[192.0.2.7]"),
        ("localhost", "127.0.1.1", "[127.0.1.1]"),
        ("client", None, "[127.0.0.1]"),
    ],
)
def test_the_name_for_ehlo(
    lib: Library,
    monkeypatch: pytest.MonkeyPatch,
    fqdn: str,
    address: str | None,
    expected: str,
) -> None:
    def resolve(name: str) -> str:
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return address

    monkeypatch.setattr(socket, "getfqdn", lambda: fqdn)
    monkeypatch.setattr(socket, "gethostbyname", resolve)
    assert lib.SMTP().local_hostname == expected


def test_audit_hooks_receive_connect_and_each_send(lib: Library, server: TalkServer) -> None:
    heard = []
    listening = threading.get_ident()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        # A hook cannot be taken away again: it goes deaf instead.
        if listening == threading.get_ident() and event.startswith("smtplib.") and not is_deaf:
            heard.append((event, type(args[0]).__name__, *args[1:]))

    is_deaf: list[bool] = []
    sys.addaudithook(hook)
    try:
        lib.SMTP(server.host, server.port, "a.test").quit()
    finally:
        is_deaf.append(True)
    assert heard == [
        ("smtplib.connect", "SMTP", server.host, server.port),
        ("smtplib.send", "SMTP", b"quit\r\n"),
    ]
