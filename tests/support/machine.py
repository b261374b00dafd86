"""A server of SMTP and LMTP as a pure machine: bytes in, bytes out, and what was delivered.

`Sink` is the server for threads and sockets; this one has neither, so that a fault test
can drive thousands of dialogues, and stop each of them at any byte.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Delivered", "Habits", "Machine"]

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Habits:
    """What a server announces, and its replies other than acceptance.

    ``answers`` maps ``"MAIL a@b"``, ``"RCPT a@b"``, ``"content"``, ``"deliver a@b"`` (LMTP,
    after the content), ``"GREETING"`` or a bare verb to a reply. After 421 it closes, unless it
    ``goes_on`` as if it had refused the one command. With ``"hang"`` it never replies. In place of
    its ``last_reply``-th reply, from 0, it sends ``last_words``. ``stumbles``: what it does with
    commands after the first one in a write, whatever it announces: answer each with a code,
    ``"drop"`` the connection, or ``"deaf"``: discard them unread. With ``takes_groups`` only those
    after a content.

    ``without_bdat``: whatever it announces, it answers BDAT with this code, and reads the chunk
    as commands; ``"silent"``: it never answers. After ``most_resets`` it refuses RSET and closes,
    as Exim does.

    ``extra``: a reply in front of the one with this number, from 0, that answers nothing; the
    reply ``"again"`` repeats that one after it. ``in_pieces``: each byte comes and goes by itself.
    """

    extensions: tuple[str, ...] = ()
    lmtp: bool = False
    login: tuple[str, str] | None = None
    answers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    last_reply: int | None = None
    last_words: str = "421 down"
    stumbles: str = ""
    takes_groups: bool = False
    goes_on: bool = False
    without_bdat: str = ""
    most_resets: int | None = None
    extra: tuple[int, str] | None = None
    in_pieces: bool = False


@dataclass
class Delivered:
    """What the server took responsibility for, over all its connections."""

    count: Counter[tuple[bytes, str]] = field(default_factory=Counter)
    """How often, by content and recipient."""
    violations: list[str] = field(default_factory=list)
    """The client's violations of the RFCs."""


class Machine:
    """One connection. Pass it bytes with `receive`, and send what is in ``output``."""

    def __init__(self, habits: Habits, delivered: Delivered) -> None:
        self.habits = habits
        self._delivered = delivered
        self._input = bytearray()
        self._chunk: tuple[int, bool] | None = None
        self._in_content = False
        self._searched = 0
        self._awaits_response = False
        self.output = bytearray()
        self.is_over = False
        """True if the server closes the connection once ``output`` is sent."""
        self.wants_tls = False
        """True once STARTTLS was answered with 220: the handshake follows ``output``."""
        self.is_tls = False
        self.is_silent = False
        """True once it will never send anything again."""
        self.replies = 0
        self._is_amid_reply = False
        self._resets = 0
        self._reset()
        self._say(habits.answers.get("GREETING", "220 x.test"))

    def receive(self, data: bytes) -> None:
        """Process bytes from the client."""
        self._input += data
        self._is_behind = False
        while self._input and not self.is_over and not self.wants_tls and self._step():
            pass
        if self.wants_tls and self._input:
            self._violation("bytes after STARTTLS")

    def tls_started(self) -> None:
        """The handshake is done: the session starts over (RFC 3207 section 4.2)."""
        self.wants_tls, self.is_tls = False, True
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._chunks = b""

    @property
    def _goes_down(self) -> bool:
        return self.replies == self.habits.last_reply

    def _say(self, reply: str) -> None:
        if self.is_over:
            return
        if reply == "hang":
            self._fall_silent()
            return
        if self._goes_down:
            reply = self.habits.last_words
        at, extra = self.habits.extra or (-1, "")
        is_last = reply[3:4] != "-"
        if self.replies == at and extra != "again" and not self._is_amid_reply:
            self.output += extra.encode() + b"\r\n"
        self.output += reply.encode() + b"\r\n"
        if self.replies == at and extra == "again" and is_last:
            self.output += reply.encode() + b"\r\n"
        self._is_amid_reply = not is_last
        self.is_over = reply.startswith("421") and not self.habits.goes_on
        self.replies += is_last

    def _violation(self, what: str) -> None:
        self._delivered.violations.append(what)

    def _step(self) -> bool:
        """Process one line or one content; False if more bytes are needed."""
        if self._in_content:
            return self._data_content()
        if self._chunk is not None:
            return self._chunk_content(*self._chunk)
        line, end, rest = bytes(self._input).partition(b"\r\n")
        if not end:
            return False
        self._input[:] = rest
        text = line.decode("utf-8")
        if self._awaits_response:
            self._awaits_response = False
            self._check_plain(text)
            return True
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        if self.habits.stumbles and self._is_behind and verb != "QUIT":
            return self._stumble()
        self._is_behind = not self.habits.takes_groups
        if rest and (verb not in ("MAIL", "RCPT", "RSET", "BDAT") or not self._may_group(verb)):
            self._violation(f"did not wait for the reply to {verb}")
        method = getattr(self, f"_{verb.lower()}", None)
        scripted = self.habits.answers.get(verb)
        if self._goes_down and self.habits.goes_on and verb in ("MAIL", "RCPT", "DATA"):
            scripted = self.habits.last_words
        if scripted is not None and verb != "BDAT":
            self._say(scripted)
        elif method is None:
            self._say("500 what")
        else:
            method(argument)
        return True

    def _stumble(self) -> bool:
        how = self.habits.stumbles
        if how == "deaf":
            self._fall_silent()
        elif how == "drop":
            self.is_over = True
        else:
            self._say(f"{how} out of order")
        return how.isdigit()

    def _fall_silent(self) -> None:
        self._input.clear()
        self.is_silent = True

    def _may_group(self, verb: str) -> bool:
        return verb == "BDAT" or "PIPELINING" in self.habits.extensions

    def _ehlo(self, name: str) -> None:
        self._reset()
        lines = ["x.test", *self.habits.extensions]
        if "STARTTLS" in lines and self.is_tls:
            lines.remove("STARTTLS")
        if self.habits.login:
            lines.append("AUTH PLAIN")
        for line in lines[:-1]:
            self._say(f"250-{line}")
        self._say(f"250 {lines[-1]}")

    _lhlo = _helo = _ehlo

    def _starttls(self, argument: str) -> None:
        self._say("220 go")
        self.wants_tls = True

    def _auth(self, argument: str) -> None:
        _, _, initial = argument.partition(" ")
        if initial:
            self._check_plain(initial)
        else:
            self._awaits_response = True
            self._say("334 ")

    def _check_plain(self, response: str) -> None:
        given = tuple(base64.b64decode(response).decode().split("\0")[1:])
        self._say("235 in" if given == self.habits.login else "535 no")

    def _mail(self, argument: str) -> None:
        sender = argument.partition("<")[2].partition(">")[0]
        scripted = self.habits.answers.get(f"MAIL {sender}")
        if scripted is not None:
            self._say(scripted)
        elif self._sender is not None:
            self._violation("MAIL within a transaction")
            self._say("503 nested")
        else:
            self._sender = sender
            self._say("250 ok")

    def _rcpt(self, argument: str) -> None:
        recipient = argument.partition("<")[2].partition(">")[0]
        scripted = self.habits.answers.get(f"RCPT {recipient}")
        if self._sender is None:
            self._say("503 MAIL")
        elif scripted is not None:
            self._say(scripted)
        else:
            self._recipients.append(recipient)
            self._say("250 ok")

    def _data(self, argument: str) -> None:
        if not self._recipients:
            self._say("503 RCPT")
        else:
            # With this in front, a dot on the first line is found as on any other.
            self._input[:0] = b"\r\n"
            self._searched = 0
            self._in_content = True
            self._say("354 go")

    def _bdat(self, argument: str) -> None:
        if self.habits.without_bdat == "silent":
            self._fall_silent()
            return
        if self.habits.without_bdat:
            self._say(f"{self.habits.without_bdat} unknown")
            return
        size, _, last = argument.partition(" ")
        self._chunk = int(size), last.upper() == "LAST"

    def _data_content(self) -> bool:
        # Bytes that were searched before are not searched again: there may be some MB.
        end = self._input.find(b"\r\n.\r\n", max(0, self._searched - 4))
        if end < 0:
            self._searched = len(self._input)
            return False
        content = bytes(self._input[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._input[: end + 5]
        self._in_content = False
        if self._input:
            self._violation("did not wait for the reply to the content")
        self._deliver(content)
        return True

    def _chunk_content(self, size: int, is_last: bool) -> bool:
        if len(self._input) < size:
            return False
        chunk = bytes(self._input[:size])
        del self._input[:size]
        self._chunk = None
        self._is_behind = True
        scripted = self.habits.answers.get("BDAT")
        if scripted is not None:
            self._reset()
            self._say(scripted)
        elif not self._recipients:
            self._say("503 RCPT")
        elif is_last:
            self._deliver(self._chunks + chunk)
        else:
            self._chunks += chunk
            self._say("250 ok")
        return True

    def _deliver(self, content: bytes) -> None:
        answers = self.habits.answers
        reply = answers.get("content", "250 taken")
        recipients = self._recipients
        self._reset()
        # RFC 2033 section 4.2: LMTP gives one reply for each recipient that was accepted.
        for served in [[r] for r in recipients] if self.habits.lmtp else [recipients]:
            answer = answers.get(f"deliver {served[0]}", reply)
            if answer[0] == "2" and not self._goes_down and not self.is_over:
                self._delivered.count.update((content, recipient) for recipient in served)
            self._say(answer)

    def _rset(self, argument: str) -> None:
        self._resets += 1
        if self.habits.most_resets is not None and self._resets > self.habits.most_resets:
            self._say("554 Too many nonmail commands")
            self.is_over = True
            return
        self._reset()
        self._say("250 ok")

    def _noop(self, argument: str) -> None:
        self._say("250 ok")

    def _quit(self, argument: str) -> None:
        self._say("221 bye")
        self.is_over = True
