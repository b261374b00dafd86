"""`Runner`: runs a dialogue with given replies, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from mailbackends.errors import SMTPException, SMTPServerDisconnected
from mailbackends.protocol.dialogue import greeting, hello
from mailbackends.protocol.session import Session, State, Want
from mailbackends.protocol.state import Dialogue
from mailbackends.reply import Reply

__all__ = ["Runner", "hung_up", "introduced", "ready_session"]

T = TypeVar("T")
SessionType = TypeVar("SessionType", bound=Session)


def hung_up() -> SMTPException:
    """The error that a driver raises when the server has closed the connection."""
    return SMTPServerDisconnected("Connection unexpectedly closed")


class Runner:
    """Works as a driver does: it writes everything queued, then reads a reply.

    ``replies`` come one after the other, each at the first moment at which the dialogue
    wants one and has none; a reply may be any bytes: half of one, or several. After the last one,
    the connection ends with the error that ``ending`` makes. The operating system takes no more
    than ``takes`` bytes; then, too, the connection ends, once the given replies have been read.
    """

    def __init__(
        self,
        session: Session,
        replies: Iterable[bytes] = (),
        *,
        takes: int | None = None,
        ending: Callable[[], SMTPException] = hung_up,
        tls: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.replies = iter(replies)
        self.takes = takes
        self.ending = ending
        self.tls = tls
        self.sent = bytearray()
        """All bytes that the operating system took."""
        self.wants: list[Want] = []
        self._is_open = True

    @property
    def lines(self) -> list[bytes]:
        """What was sent, line by line."""
        return bytes(self.sent).split(b"\r\n")[:-1]

    def run(self, dialogue: Dialogue[T]) -> T:
        """What the dialogue returns or raises."""
        try:
            want = next(dialogue)
            while True:
                self.wants.append(want)
                try:
                    reply = self.fulfil(want)
                except SMTPException as error:
                    self.session.close()
                    want = dialogue.throw(error)
                else:
                    want = dialogue.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def fulfil(self, want: Want) -> Reply | None:
        """What the dialogue wants, from the replies."""
        if want is Want.TLS:
            self.tls()
            return None
        # As a driver does: replies that have arrived are read before anything is written.
        if (reply := self.session.next_reply()) is not None:
            return reply
        self.write()
        for data in self.replies:
            self.session.receive_data(data)
            if (reply := self.session.next_reply()) is not None:
                return reply
        raise self.ending()

    def write(self) -> None:
        """Write what is queued, as far as the operating system takes it."""
        while self._is_open and (buffers := self.session.data_to_send(65536)):
            data = b"".join(buffers)
            if self.takes is not None and len(self.sent) + len(data) > self.takes:
                data = data[: self.takes - len(self.sent)]
                self._is_open = False
            self.sent += data
            self.session.bytes_sent(len(data))


def ready_session(*keywords: str, is_lmtp: bool = False) -> Session:
    """A session after greeting and EHLO, with these extensions announced."""
    return introduced(Session(is_lmtp=is_lmtp), *keywords)


def introduced(session: SessionType, *keywords: str) -> SessionType:
    """The same session, after greeting and EHLO."""
    lines = ["there", *keywords]
    last = len(lines) - 1
    answer = "".join(f"250{' ' if i == last else '-'}{one}\r\n" for i, one in enumerate(lines))
    runner = Runner(session, [b"220 there\r\n", answer.encode()])
    runner.run(greeting(session))
    runner.run(hello(session, "here"))
    assert session.state is State.READY
    return session
