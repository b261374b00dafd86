"""However a login breaks off, no frame of the traceback shows a secret."""

import base64
import socket
import ssl

import pytest

from mailbackends.errors import SMTPException
from mailbackends.protocol import sasl
from mailbackends.protocol.dialogue import greeting, hello, login
from mailbackends.transport.waiting import Timeouts, run
from support import certs
from support.far_end import FarEnd

SECRET = "hunter2-s3cr3t"
CREDENTIALS = sasl.Credentials("user", SECRET, lambda: SECRET)
HIDDEN = [
    SECRET,
    *(base64.b64encode(text.encode()).decode() for text in (SECRET, f"\0user\0{SECRET}")),
]


def locals_of(error):
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_globals["__name__"].startswith("mailbackends."):
                yield from frame.f_locals.items()
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__


def hang_up(server):
    server.read_until(b"\r\n")
    server.sock.close()


def hang_up_before(server):
    server.sock.shutdown(socket.SHUT_RD)
    server.sock.close()
    server.go.set()


def reset(server):
    server.read_until(b"\r\n")
    server.reset()


def keep_silent(server):
    server.read_until(b"\r\n")
    server.stopped.wait(10)


def take_nothing(server):
    server.stopped.wait(10)


def say(*lines):
    def end(server):
        server.answer(*lines)
        server.stopped.wait(10)

    return end


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "XOAUTH2"])
@pytest.mark.parametrize(
    "end",
    [
        hang_up, hang_up_before, reset, keep_silent, take_nothing,
        say(b"535 no", b"535 no"), say(b"what"), say(b"334 UGFzc3dvcmQ6", b"what"),
        say(b"334 !", b"501 ok"), say(b"421 bye"),
    ],
    ids=["hangs up", "has hung up", "resets", "is silent", "takes nothing",
         "refuses", "says garbage", "asks and says garbage", "asks garbage", "closes"],
)  # fmt: skip
def test_a_login_that_breaks_off_shows_no_secret(end, mechanism, tls):
    context = certs.server_context()
    client = ssl.create_default_context(cafile=certs.cafile())

    def play(server):
        if tls:
            server.sock = context.wrap_socket(server.sock, server_side=True)
        server.say(b"220 hi")
        server.read_until(b"\r\n")
        server.say(b"250-hi", b"250 AUTH PLAIN LOGIN XOAUTH2")
        end(server)

    with FarEnd(play, tcp=end is not take_nothing) as server:
        timeouts = Timeouts(command=0.3)
        if tls:
            run(server.driver.stream.start_tls(client, "localhost", timeouts.for_connect()))
        server.run(greeting(server.session))
        server.run(hello(server.session, "here"))
        if end is hang_up_before:
            server.go.wait(10)
        if end is take_nothing and not tls:
            while server.driver.stream.send_some([b"x" * 4096]):
                pass
        with pytest.raises(SMTPException) as caught:
            server.run(login(server.session, CREDENTIALS, [mechanism]), timeouts)
    seen = list(locals_of(caught.value))
    assert len(seen) > 5
    for name, value in seen:
        shown = f"{value!r} {value!s}"
        assert not any(hidden in shown for hidden in HIDDEN), (name, shown)
    assert not any(hidden in f"{caught.value} {caught.value!r}" for hidden in HIDDEN)
