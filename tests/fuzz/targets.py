"""What is fuzzed, and what must hold whatever the server says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from mailbackends import errors
from mailbackends.client import LMTP, SMTP
from mailbackends.errors import (
    SMTPException,
    SMTPProtocolError,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.mime import content
from mailbackends.protocol import dialogue, extensions, sasl, transaction
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.reply_parser import ReplyParser
from mailbackends.protocol.session import Session, State, Want
from mailbackends.protocol.state import Dialogue
from mailbackends.reply import Reply
from support.memory import MemorySocket

from .servers import QUOTED, SECRET, Fault, Server, announced, faults, streams

__all__ = ["TARGETS", "seen"]

seen: Counter[str] = Counter()
"""How often each result and each exception came out."""

A, B, C = "a@a.test", "b@b.test", "c@c.test"
MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n"


class FuzzedSocket(MemorySocket):
    """Tells the server what was sent."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._server = server

    def sendall(self, data: bytes) -> None:
        super().sendall(data)
        self._server.hear(data)


class FuzzedSMTP(SMTP):
    """TLS is not what is fuzzed here."""

    def _start_tls(self, context: Any) -> None:
        pass


class FuzzedLMTP(FuzzedSMTP, LMTP):
    """The same for LMTP."""


CALLS: dict[str, Callable[[SMTP], Any]] = {
    "greeting": lambda c: c.getreply(),
    "ehlo": lambda c: c.ehlo(),
    "starttls": lambda c: c.starttls(context=NO_CONTEXT),
    "login": lambda c: c.login("user", SECRET),
    "login with a token": lambda c: c.login("user", lambda: "token"),
    "auth": lambda c: c.auth("X", lambda challenge=None: "response"),
    "sendmail": lambda c: c.sendmail(A, [B, C], MESSAGE),
    "sendmail, SMTPUTF8": lambda c: c.sendmail("é@a.test", [B], MESSAGE, ["SMTPUTF8"]),
    "noop": lambda c: c.noop(),
    "verify": lambda c: c.verify(A),
    "help": lambda c: c.help(),
    "rset": lambda c: c.rset(),
    "quit": lambda c: c.quit(),
}
NO_CONTEXT: Any = object()

# Refusals of ours, before anything is sent, for what the server did not announce.
UNICODE = "sendmail, SMTPUTF8"


def fuzz_client(
    kind: type[FuzzedSMTP], calls: Sequence[str], announced: bytes, wrongs: list[Fault | None]
) -> None:
    """Any calls on a client: a result, or a documented exception, and then it is closed."""
    client = kind(local_hostname="client.test")
    sock = FuzzedSocket(Server(announced, wrongs))
    client.sock = sock  # type: ignore[assignment]
    for name in ("greeting", *calls):
        call = CALLS[name]
        is_broken = False
        try:
            call(client)
        except SMTPException as error:
            _note(name, error)
            is_broken = isinstance(error, SMTPServerDisconnected | SMTPProtocolError)
        except UnicodeEncodeError:
            # By HELO, or without the extension, SMTPUTF8 is not sent, and UTF-8 cannot be.
            assert name == UNICODE
        else:
            seen[f"{name}: done"] += 1
        assert client.sock is None or not is_broken
        assert (client.sock is None) == sock.is_closed
    for line in bytes(sock.sent).split(b"\r\n"):
        assert b"\n" not in line
        assert b"\r" not in line
        assert b"\0" not in line


def fuzz_session(
    is_lmtp: bool,
    pipelining: bool,
    chunking: Chunking,
    is_fresh: bool,
    announced: bytes,
    wrongs: list[Fault | None],
) -> None:
    """The `Mailer`'s path: two messages on one session, and each ends in a documented way."""
    session = Session(is_lmtp=is_lmtp)
    run = _Runner(session, Server(announced, wrongs))
    outgoing = content.from_bytes(MESSAGE)
    envelope = Envelope(A, (B, C))
    credentials = sasl.Credentials("user", SECRET)
    talks: list[tuple[str, Dialogue[Any]]] = [
        ("greeting", dialogue.greeting(session)),
        ("hello", dialogue.hello(session, "client.test")),
        ("starttls", dialogue.starttls(session, "client.test")),
        ("login", dialogue.login(session, credentials)),
        *(
            (
                "deliver",
                transaction.deliver(
                    session,
                    envelope,
                    outgoing,
                    pipelining=pipelining,
                    chunking=chunking,
                    is_fresh=is_fresh,
                ),
            )
            for _ in range(2)
        ),
    ]
    for name, talk in talks:
        if session.state is State.CLOSED:
            return
        shown: list[object]
        try:
            result = run(talk)
        except SMTPException as error:
            _note(name, error)
            is_known = error.outcome is not None
            shown = [error, repr(error), vars(error)]
        else:
            is_known = True
            shown = [result]
            seen[f"{name}: {type(result).__name__}"] += 1
        assert is_known or name != "deliver"
        for quoted in QUOTED:
            assert quoted not in run.sent or quoted.decode() not in str(shown), shown


class _Runner:
    """A driver of dialogues without a socket."""

    def __init__(self, session: Session, server: Server) -> None:
        self.session = session
        self.server = server
        self.sent = b""

    def __call__(self, talk: Dialogue[Any]) -> Any:
        try:
            want = next(talk)
            while True:
                try:
                    reply = self.fulfil(want)
                except SMTPException as error:
                    self.session.close()
                    want = talk.throw(error)
                else:
                    want = talk.send(reply)
        except StopIteration as stop:
            return stop.value

    def fulfil(self, want: Want) -> Reply | None:
        if want is Want.TLS:
            return None
        if reply := self.session.next_reply():
            return reply
        while buffers := self.session.data_to_send(1 << 20):
            data = b"".join(buffers)
            self.session.bytes_sent(len(data))
            self.sent += data
            self.server.hear(data)
        while True:
            piece = next(self.server, b"")
            if piece is None:
                raise SMTPTimeoutError("timed out")
            if not piece:
                raise SMTPServerDisconnected("Connection unexpectedly closed")
            self.session.receive_data(piece)
            if reply := self.session.next_reply():
                return reply


def fuzz_parser(pieces: list[bytes], cuts: list[int]) -> None:
    """The same bytes give the same replies however they are cut, or the same error."""
    whole = b"".join(pieces)
    borders = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    cut_up = [whole[a:b] for a, b in pairwise(borders)]
    first, second = (list(_parsed(given)) for given in ([whole], cut_up))
    assert first == second
    for reply in first:
        if isinstance(reply, Reply):
            _read_everywhere(reply)
    seen[f"parser: {len(first)} replies"] += 1


def _parsed(pieces: Sequence[bytes]) -> Iterator[Reply | str]:
    parser = ReplyParser()
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while reply := parser.next_reply():
                yield reply
    except SMTPProtocolError as error:
        yield str(error)


def _read_everywhere(reply: Reply) -> None:
    found = extensions.parse(reply)
    assert found.max_size is None or found.max_size > 0
    assert all(name == name.upper() for name in found.auth_mechanisms)
    assert all(name == name.upper() for name in dict(extensions.announced(reply.lines[1:])))
    assert "\n" not in str(reply)
    assert reply.enhanced is None or str(reply.enhanced)[0] in "245"


def _note(name: str, error: SMTPException) -> None:
    assert type(error).__name__ in errors.__all__, f"{error!r} is not documented"
    assert all(isinstance(shown, str) for shown in (str(error), repr(error)))
    assert error.is_transient in (True, False)
    seen[f"{name}: {type(error).__name__}"] += 1


TARGETS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = {
    "client": (
        fuzz_client,
        (
            st.sampled_from([FuzzedSMTP, FuzzedLMTP]),
            st.lists(st.sampled_from(sorted({*CALLS} - {"greeting"})), max_size=6),
            announced,
            faults,
        ),
    ),
    "session": (
        fuzz_session,
        (
            st.booleans(),
            st.booleans(),
            st.sampled_from(Chunking),
            st.booleans(),
            announced,
            faults,
        ),
    ),
    "parser": (fuzz_parser, (streams, st.lists(st.integers(0, 10_000), max_size=6))),
}
"""Each with the strategies of its arguments."""
