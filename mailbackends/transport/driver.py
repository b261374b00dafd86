"""The loop that runs a dialogue over a stream: it writes, reads, and keeps to the timeouts."""

from __future__ import annotations

import contextlib
import functools
import inspect
import ssl
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from mailbackends.errors import (
    BeforeEndError,
    InvalidMessageError,
    SMTPException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
    SMTPTLSError,
)
from mailbackends.protocol.gates import Buffer
from mailbackends.protocol.session import Session, State, Want
from mailbackends.protocol.state import Dialogue
from mailbackends.reply import Reply
from mailbackends.transport.stream import Stream
from mailbackends.transport.tls import WANTS_CERTIFICATE, wants_certificate
from mailbackends.transport.waiting import Timeouts

__all__ = ["Driver"]

T = TypeVar("T")

# How much content is pulled at once: enough for few system calls, little to hold.
_WRITE_AHEAD = 256 * 1024


class Driver:
    """Runs dialogues over one stream. What breaks is thrown into the dialogue."""

    def __init__(
        self,
        session: Session,
        stream: Stream,
        *,
        tls_context: ssl.SSLContext | None = None,
        tls_hostname: str = "",
    ) -> None:
        self.session = session
        self.stream = stream
        self._tls_context = tls_context
        self._tls_hostname = tls_hostname
        self._unsent: list[Buffer] = []
        self.loads_in_thread = False
        """True while what is sent is read or encoded, and an event loop must not wait for it."""

    async def run_in_thread(self, dialogue: Dialogue[T], timeouts: Timeouts) -> T:
        """As `run`, for a dialogue that itself may take long: each of its steps is timed, too.

        It fetches a token, say, or derives a key as often as the server asks for.
        """
        steps = _Steps(dialogue)
        want = await self._timed(steps.start, timeouts)
        while want is not None:
            try:
                reply = self.session.next_reply() if want is not Want.TLS else None
                reply = reply or await self._fulfil(want, timeouts)
            except SMTPException as error:
                self.session.close()
                want = await self._timed(functools.partial(steps.throw, error), timeouts)
            except BaseException:
                self.session.close()
                raise
            else:
                want = await self._timed(functools.partial(steps.send, reply), timeouts)
        result: T = steps.result
        return result

    async def _timed(self, step: Callable[[], Want | None], timeouts: Timeouts) -> Want | None:
        deadline = timeouts.for_login()
        seconds = deadline.remaining()
        try:
            return await self.stream.waiter.call(
                step, None if seconds is None else max(0.0, seconds)
            )
        except SMTPException:
            raise
        except TimeoutError:
            self.session.close()
            raise SMTPTimeoutError(deadline.exceeded()) from None

    async def run(
        self,
        dialogue: Dialogue[T],
        timeouts: Timeouts,
        want: Want | None = None,
        *,
        reads_on: bool = False,
    ) -> T:
        """What the dialogue returns or raises.

        ``want`` is what a dialogue waits for that was started before. If the session was closed
        meanwhile, the dialogue ends, unless it ``reads_on`` to see whether the server closes.

        Raises:
            SMTPServerDisconnected: the connection broke; the session is closed.
            SMTPTimeoutError: a wait took too long; the session is closed.
        """
        try:
            if want is None:
                want = next(dialogue)
            elif self.session.state is State.CLOSED and not reads_on:
                want = dialogue.throw(_disconnected())
            while True:
                try:
                    # Replies come in groups as they were asked for: mostly the next is there.
                    reply = None if want is Want.TLS else self.session.next_reply()
                    if reply is None:
                        reply = await self._fulfil(want, timeouts)
                except InvalidMessageError:
                    # Content that cannot be read: half of it may have been sent.
                    self.session.close()
                    raise
                except SMTPException as error:
                    self.session.close()
                    want = dialogue.throw(error)
                except BaseException:
                    # An interruption, or content that could not be read: half of it may be
                    # out, and the dialogue did not come to its end.
                    self.session.close()
                    raise
                else:
                    want = dialogue.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def reply_at_hand(self) -> Reply | None:
        """The next reply, if the server has sent it; None where it would have to be waited for.

        Also None where something is left to be sent, and at the end of the stream: `run` sees it.

        Raises:
            SMTPProtocolError: what the server has sent is no reply.
        """
        if self._unsent or self.session.has_output or self.session.state is State.CLOSED:
            return None
        if (reply := self.session.next_reply()) is not None:
            return reply
        try:
            data = self.stream.receive_some()
        except OSError:
            return None
        if not data:
            return None
        self.session.receive_data(data)
        del data  # as in `_read`
        return self.session.next_reply()

    def send_at_once(self) -> None:
        """Write what is queued as far as that needs no waiting, and drop the rest."""
        while (self._unsent or self._load()) and not self.session.pass_gates() and self._send():
            pass

    def receive_surplus(self) -> None:
        """Take bytes that have come although nothing is awaited, if there are any."""
        with contextlib.suppress(OSError):
            if data := self.stream.receive_some():
                self.session.receive_data(data)

    async def _fulfil(self, want: Want, timeouts: Timeouts) -> Reply | None:
        if want is Want.TLS:
            if self._tls_context is None:
                raise SMTPTLSError("the server is ready for TLS, but no context was given")
            await self.stream.start_tls(
                self._tls_context,
                self._tls_hostname,
                timeouts.for_handshake(),
                after_starttls=True,
            )
            return None
        if self._unsent or self.session.has_output:
            reply = await self._write(timeouts)
            if reply is not None:
                return reply
        waits_for_content = want is Want.CONTENT_REPLY
        deadline = timeouts.for_content_reply() if waits_for_content else timeouts.for_reply()
        while True:
            await self.stream.wait(deadline)
            if (reply := self._read()) is not None:
                return reply

    async def _write(self, timeouts: Timeouts) -> Reply | None:
        """Write all that is queued, unless a reply comes first: it is returned.

        Reading goes on while the server takes nothing: it may have stopped because nobody
        reads its replies, and then neither side would ever go on.
        """
        deadline = None
        written = 0
        while self._unsent or (self.session.has_output and await self._fill()):
            if self.session.gated:
                await self._pass_gates()
            try:
                if sent := self._send():
                    deadline = None
                    if (written := written + sent) >= _WRITE_AHEAD:
                        written = 0
                        await self.stream.waiter.pause()
                    continue
            except OSError as error:
                return self._last_words(error)
            # Counted from the last byte that was taken: a reply that drips in buys no time.
            deadline = deadline or timeouts.for_writing()
            await self.stream.wait(deadline, for_writing=True)
            if (reply := self._read()) is not None:
                return reply
        return None

    async def _pass_gates(self) -> None:
        """Call what has to be called before the end of a content leaves.

        Raises:
            BeforeEndError: it raised. Nothing more can be sent over this connection.
        """
        calls: dict[Any, list[Any]] = {}
        for gate in self.session.pass_gates():
            calls.setdefault(gate.before_end, []).append(gate.message)
        try:
            for before_end, messages in calls.items():
                result = before_end(messages)
                if inspect.isawaitable(result):
                    await result
        except BaseException as error:
            self._unsent = []
            self.session.discard_output()
            if not isinstance(error, Exception):
                raise
            text = f"before_end raised {type(error).__name__}: {error}"
            raise BeforeEndError(text) from error

    async def _fill(self) -> bool:
        """As `_load`, in a thread where it may take long."""
        if self.loads_in_thread and self.session.has_output:
            return await self.stream.waiter.call(self._load, None)
        return self._load()

    def _load(self) -> bool:
        """Take what the session has to send; False where there is nothing."""
        self._unsent = self.session.data_to_send(_WRITE_AHEAD)
        return bool(self._unsent)

    def _send(self) -> int:
        sent = left = self.stream.send_some(self._unsent)
        self.session.bytes_sent(sent)
        for done, buffer in enumerate(self._unsent):
            if left < len(buffer):
                del self._unsent[:done]
                if left:
                    self._unsent[0] = memoryview(buffer)[left:]
                return sent
            left -= len(buffer)
        self._unsent = []
        return sent

    def _read(self) -> Reply | None:
        try:
            data = self.stream.receive_some()
        except OSError as error:
            raise _disconnected(error) from error
        if data is None:
            return None
        if not data:
            raise _disconnected()
        self.session.receive_data(data)
        del data  # The server may quote a secret, and tracebacks show variables.
        return self.session.next_reply()

    def _last_words(self, error: OSError) -> Reply:
        """The reply that the server sent before it closed, which says why."""
        with contextlib.suppress(SMTPServerDisconnected):
            if (reply := self._read()) is not None:
                return reply
        raise _disconnected(error) from error


class _Steps(Generic[T]):
    """A dialogue whose end is a value: a thread cannot pass a StopIteration on."""

    def __init__(self, dialogue: Dialogue[T]) -> None:
        self._dialogue = dialogue
        self.result: Any = None

    def start(self) -> Want | None:
        return self._step(lambda: next(self._dialogue))

    def send(self, reply: Reply | None) -> Want | None:
        return self._step(lambda: self._dialogue.send(reply))

    def throw(self, error: SMTPException) -> Want | None:
        return self._step(lambda: self._dialogue.throw(error))

    def _step(self, go_on: Callable[[], Want]) -> Want | None:
        try:
            return go_on()
        except StopIteration as stop:
            self.result = stop.value
            return None


def _disconnected(error: OSError | None = None) -> SMTPServerDisconnected:
    if wants_certificate(error):
        made = SMTPServerDisconnected("Connection unexpectedly closed")
        return made.suggesting(WANTS_CERTIFICATE)
    return SMTPServerDisconnected(f"Connection unexpectedly closed{f': {error}' if error else ''}")
