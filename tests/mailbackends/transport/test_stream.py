"""The stream: partial writes, waits within their deadline, and errors with a reason."""

import contextlib
import select
import socket
import ssl
import threading

import pytest

from mailbackends.errors import SMTPTimeoutError, SMTPTLSError
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import Deadline, run
from support import certs


def soon(seconds=10.0):
    return Deadline.after(seconds, "waiting")


@pytest.fixture
def pair():
    """A stream, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    stream = Stream(ours)
    with ours, theirs:
        yield stream, theirs


@pytest.fixture
def tls_pair():
    """A stream with TLS on, and the TLS socket at its other end."""
    ours, theirs = socket.socketpair()
    stream = Stream(ours)
    made = []
    # Both are made here: two threads would make two authorities.
    client_context = ssl.create_default_context(cafile=certs.cafile())
    server_context = certs.server_context()

    def shake():
        theirs.settimeout(10)
        made.append(server_context.wrap_socket(theirs, server_side=True))

    thread = threading.Thread(target=shake)
    thread.start()
    run(stream.start_tls(client_context, "localhost", soon()))
    thread.join()
    if stream.sock.version() == "TLSv1.3":
        # The tickets for the next session, which are not data for the reader.
        run(stream.wait(soon()))
        assert stream.receive_some() is None
    with contextlib.closing(stream.sock), made[0] as server:
        yield stream, server


@pytest.fixture(params=["clear", "tls"])
def either(request):
    return request.getfixturevalue("pair" if request.param == "clear" else "tls_pair")


def received(sock, count):
    data = b""
    while len(data) < count:
        data += sock.recv(65536)
    return data


def test_several_buffers_are_sent_in_order(either):
    stream, server = either
    buffers = [b"MAIL\r\n", memoryview(b"RCPT\r\n"), bytearray(b"DATA\r\n")]
    assert stream.send_some(buffers) == 18
    assert received(server, 18) == b"MAIL\r\nRCPT\r\nDATA\r\n"


def test_more_buffers_than_the_system_takes_at_once_are_taken_in_part(either):
    stream, server = either
    sent = stream.send_some([b"x"] * 3000)
    assert 0 < sent <= 3000
    assert received(server, sent) == b"x" * sent


def test_bytes_that_the_system_does_not_take_are_not_counted(either):
    stream, server = either
    buffer = b"x" * 100_000
    sent = 0
    while count := stream.send_some([buffer]):
        sent += count
    with pytest.raises(SMTPTimeoutError, match="timed out: waiting"):
        run(stream.wait(soon(0.05), for_writing=True))
    if isinstance(stream.sock, ssl.SSLSocket):
        return  # TLS has encrypted one more record by now
    assert len(received(server, sent)) == sent


def test_reading_returns_none_without_data_and_empty_bytes_at_the_end(either):
    stream, server = either
    assert stream.receive_some() is None
    server.sendall(b"250 ok\r\n")
    run(stream.wait(soon()))
    assert stream.receive_some() == b"250 ok\r\n"
    server.close()
    run(stream.wait(soon()))
    assert stream.receive_some() == b""


def test_bytes_that_tls_has_already_decrypted_need_no_wait(tls_pair, monkeypatch):
    stream, server = tls_pair
    server.sendall(b"250 first\r\n250 second\r\n")
    run(stream.wait(soon()))
    assert stream.sock.recv(11) == b"250 first\r\n"
    # Nothing more comes on the socket itself.
    run(stream.wait(soon(0.0)))
    assert stream.receive_some() == b"250 second\r\n"


def test_a_wait_ends_at_its_deadline(either):
    stream, _ = either
    for seconds in (0.05, 0.0, -1.0):
        with pytest.raises(SMTPTimeoutError, match="timed out: waiting"):
            run(stream.wait(soon(seconds)))


def test_a_wait_may_have_no_limit(either):
    stream, server = either
    timer = threading.Timer(0.05, server.sendall, [b"x"])
    timer.start()
    run(stream.wait(soon(None)))
    timer.join()
    assert stream.receive_some() == b"x"


def test_a_very_long_wait_can_be_asked_for(either):
    stream, server = either
    server.sendall(b"x")
    run(stream.wait(soon(1e9)))
    assert stream.receive_some() == b"x"


def test_without_poll_select_is_used(either, monkeypatch):
    monkeypatch.delattr(select, "poll")
    stream, server = either
    with pytest.raises(SMTPTimeoutError):
        run(stream.wait(soon(0.05)))
    run(stream.wait(soon(), for_writing=True))
    server.sendall(b"x")
    run(stream.wait(soon()))
    assert stream.receive_some() == b"x"


def test_a_stream_is_quiet_until_data_arrives(either):
    stream, server = either
    assert stream.is_quiet()
    server.sendall(b"421 bye\r\n")
    run(stream.wait(soon()))
    assert not stream.is_quiet()


def test_a_stream_is_not_quiet_once_the_peer_has_closed(either):
    stream, server = either
    server.close()
    run(stream.wait(soon()))
    assert not stream.is_quiet()


def test_a_broken_stream_is_not_quiet(pair):
    stream, _ = pair
    stream.abort()
    assert not stream.is_quiet()


def test_aborting_closes_without_sending_a_byte(tls_pair):
    stream, server = tls_pair
    raw = socket.socket(fileno=server.detach())
    with raw:
        raw.settimeout(10)
        stream.abort()
        stream.abort()
        # Not even TLS's close_notify.
        assert raw.recv(1) == b""


def test_small_writes_are_not_delayed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        with sock:
            assert Stream(sock).sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_system_without_tcp_nodelay_causes_no_error():
    class Stubborn(socket.socket):
        def setsockopt(self, *args):
            raise OSError("no")

    with Stubborn() as sock:
        assert Stream(sock).sock is sock


# --- TLS that wants the other direction first -----------------------------------------


class Contrary(ssl.SSLSocket):
    """An SSLSocket that must read before it writes, or write before it reads."""

    def __new__(cls, *args, **kwargs):
        return socket.socket.__new__(cls)

    def __init__(self, other):
        self.other = other
        self.wants = []

    def fileno(self):
        return self.other.fileno()

    def pending(self):
        return 0

    def send(self, data, flags=0):
        if self.wants:
            raise self.wants.pop(0)
        return self.other.send(data)

    def recv(self, size=1024, flags=0):
        if self.wants:
            raise self.wants.pop(0)
        return self.other.recv(size)


@pytest.fixture
def contrary(pair):
    stream, server = pair
    stream._use(Contrary(stream.sock))
    return stream, server


def test_a_write_that_has_to_read_first_does_not_spin(contrary):
    stream, server = contrary
    stream.sock.wants = [ssl.SSLWantReadError()]
    assert stream.send_some([b"x"]) == 0
    # Writing is always possible: only a byte to read may end this wait.
    with pytest.raises(SMTPTimeoutError):
        run(stream.wait(soon(0.05), for_writing=True))
    server.sendall(b"y")
    run(stream.wait(soon(), for_writing=True))
    assert stream.send_some([b"x"]) == 1


def test_a_read_that_has_to_write_first_waits_for_room(contrary):
    stream, _ = contrary
    stream.sock.wants = [ssl.SSLWantWriteError()]
    assert stream.receive_some() is None
    run(stream.wait(soon(0.05)))
    assert stream.receive_some() is None
    with pytest.raises(SMTPTimeoutError):
        run(stream.wait(soon(0.05)))


# --- the handshake --------------------------------------------------------------------


def test_a_server_that_is_silent_in_the_handshake_times_out(pair):
    stream, _ = pair
    context = ssl.create_default_context(cafile=certs.cafile())
    with pytest.raises(SMTPTimeoutError, match="timed out: waiting"):
        run(stream.start_tls(context, "localhost", soon(0.05)))
    stream.sock.close()


def test_a_server_that_is_slow_in_the_handshake_times_out(pair):
    stream, server = pair
    stop = threading.Event()

    def drip():
        # A record that is never complete.
        with contextlib.suppress(OSError):
            for byte in b"\x16\x03\x03\x3f\xff" + bytes(10_000):
                server.sendall(bytes([byte]))
                if stop.wait(0.01):
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    context = ssl.create_default_context(cafile=certs.cafile())
    with pytest.raises(SMTPTimeoutError):
        run(stream.start_tls(context, "localhost", soon(0.2)))
    stop.set()
    thread.join()
    stream.sock.close()


def test_a_server_that_reads_nothing_in_the_handshake_times_out(pair):
    stream, _ = pair
    while stream.send_some([b"x" * 65536]):
        pass
    context = ssl.create_default_context(cafile=certs.cafile())
    with pytest.raises(SMTPTimeoutError):
        run(stream.start_tls(context, "localhost", soon(0.05)))
    stream.sock.close()


@pytest.mark.parametrize("name", ["", ".", "a" * 300])
def test_a_name_that_no_certificate_can_have_is_an_error(pair, name):
    stream, _ = pair
    context = ssl.create_default_context(cafile=certs.cafile())
    with pytest.raises(SMTPTLSError):
        run(stream.start_tls(context, name, soon()))
    stream.sock.close()
