"""The sink's side of SMTP and LMTP: strict, and refusing what the test asks it to refuse."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from support.face import HANG_UP, STALL, Received
from support.peer import ClientGone
from support.wire import Wire

if TYPE_CHECKING:
    from support.sink import Sink

__all__ = ["SASL", "Conversation"]

SASL = Callable[[Callable[[bytes], bytes], bytes | None], bool]
"""Runs one exchange: takes ``ask(challenge) -> response`` and the initial response or None, and
returns whether the login succeeds.
"""

# RFC 2920 section 3.1, RFC 3207 section 4, RFC 4954 section 4: nothing may follow these before
# their reply.
_LAST_OF_A_GROUP = {
    "AUTH", "DATA", "EHLO", "EXPN", "HELO", "LHLO", "NOOP", "QUIT", "STARTTLS", "VRFY",
}  # fmt: skip

_PARAMETERS = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}


class Conversation:
    """One connection, from the greeting to its end."""

    def __init__(self, sink: Sink, wire: Wire, index: int) -> None:
        self.sink = sink
        self.wire = wire
        self.index = index
        self.user: str | None = None
        self.is_greeted = False
        self._reset()

    def run(self) -> None:
        """Answer the client. Raises `ClientGone` at the end."""
        greeting = self.scripted("CONNECT") or "220 sink.test ESMTP"
        self.say(greeting)
        while True:
            line = self.wire.read_line().decode("utf-8", "surrogateescape")
            self.sink.commands[self.index].append(line)
            verb, _, argument = line.partition(" ")
            verb = verb.upper()
            if greeting[:3] != "220" and verb != "QUIT":
                self.say("503 5.5.1 No service here")
            else:
                self._check_step(verb)
                self._do(verb, argument)

    def say(self, reply: str) -> None:
        """Send a reply; 421 also ends the connection (RFC 5321 section 3.8)."""
        self.wire.reply(reply.encode() + b"\r\n")
        if reply.startswith("421"):
            self._end()

    def scripted(self, key: str) -> str | None:
        """The reply that the test has set for this command, or None."""
        reply = self.sink._scripted_reply(key)
        if reply == HANG_UP:
            self._end()
        if reply == STALL:
            self.wire.stall()
        return reply

    def _end(self) -> None:
        self.wire.flush()
        raise ClientGone

    def _reset(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.mail_options: tuple[str, ...] = ()
        self.rcpt_options: list[str] = []
        self.chunks: list[bytes] = []

    def _check_step(self, verb: str) -> None:
        may_follow = "PIPELINING" in self.sink.extensions and verb not in _LAST_OF_A_GROUP
        if not may_follow and verb != "BDAT" and self.wire.has_more():
            self.sink.violations.append(f"did not wait for the reply to {verb}")
            self.say("500 5.5.1 Command stream out of step")
            self._end()

    def _do(self, verb: str, argument: str) -> None:
        if verb == "BDAT":
            self._bdat(argument)
            return
        reply = self.scripted(verb)
        if reply is not None:
            self.say(reply)
            return
        method = getattr(self, f"_{verb.lower()}", None) if verb in self._verbs() else None
        if method is None:
            self.say("500 5.5.2 Unknown command")
        else:
            method(argument)

    def _verbs(self) -> set[str]:
        verbs = {"MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY"}
        verbs |= {"LHLO"} if self.sink.lmtp else {"EHLO", "HELO"}
        if self.sink.tls == "starttls":
            verbs.add("STARTTLS")
        if self.sink.mechanisms:
            verbs.add("AUTH")
        return verbs

    def _ehlo(self, name: str) -> None:
        self._reset()
        self.is_greeted = True
        keywords = list(self.sink.extensions)
        if self.sink.tls == "starttls" and not self.wire.peer.is_tls:
            keywords.append("STARTTLS")
        if self.sink.mechanisms:
            keywords.append("AUTH " + " ".join(self.sink.mechanisms))
        lines = ["sink.test", *keywords]
        last = len(lines) - 1
        self.say("\r\n".join(f"250{' ' if i == last else '-'}{s}" for i, s in enumerate(lines)))

    _lhlo = _ehlo

    def _helo(self, name: str) -> None:
        self._reset()
        self.is_greeted = True
        self.say("250 sink.test")

    def _starttls(self, argument: str) -> None:
        assert self.sink._context is not None
        self.say("220 2.0.0 Go ahead")
        self.wire.start_tls(self.sink._context)
        self._reset()
        self.is_greeted = False  # RFC 3207 section 4.2: EHLO again

    def _auth(self, argument: str) -> None:
        name, _, initial = argument.partition(" ")
        if name.upper() not in self.sink.mechanisms:
            self.say("504 5.5.4 Unknown mechanism")
            return
        try:
            first = base64.b64decode(initial, validate=True) if initial else None
            is_in = self._exchange(name.upper(), b"" if initial == "=" else first)
        except (binascii.Error, ValueError) as error:
            self.say(f"501 5.5.2 {error}")
            return
        if is_in:
            self.user = self.sink.login[0] if self.sink.login else name
            self.say("235 2.7.0 Welcome")
        else:
            self.say("535 5.7.8 Wrong credentials")

    def _exchange(self, name: str, initial: bytes | None) -> bool:
        if name in self.sink.sasl:
            return self.sink.sasl[name](self._ask, initial)
        assert self.sink.login is not None
        user, password = (part.encode() for part in self.sink.login)
        if name == "PLAIN":
            given = self._ask(b"") if initial is None else initial
            return given.split(b"\0")[1:] == [user, password]
        login = self._ask(b"Username:") if initial is None else initial
        return (login, self._ask(b"Password:")) == (user, password)

    def _ask(self, challenge: bytes) -> bytes:
        self.say("334 " + base64.b64encode(challenge).decode())
        response = self.wire.read_line()
        if response == b"*":
            raise ValueError("cancelled")
        return base64.b64decode(response, validate=True)

    def _mail(self, argument: str) -> None:
        address, options = _path(argument, "FROM:")
        scripted = self.scripted(f"mail {address}")
        if scripted is not None:
            self.say(scripted)
        elif self.sink.require_login and self.user is None:
            self.say("530 5.7.0 Log in first")
        elif not self.is_greeted:
            self.say("503 5.5.1 EHLO first")
        elif self.sender is not None:
            self.say("503 5.5.1 Nested MAIL")
        elif address is None:
            self.say("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif bad := self._unknown(options):
            self.say(f"555 5.5.4 Unsupported option {bad}")
        elif (limit := self._limit()) and _declared_size(options) > limit:
            self.say("552 5.3.4 Message too big")
        else:
            self.sender, self.mail_options = address, options
            self.say("250 2.1.0 Ok")

    def _rcpt(self, argument: str) -> None:
        address, options = _path(argument, "TO:")
        scripted = self.scripted(f"rcpt {address}")
        if scripted is not None:
            self.say(scripted)
        elif self.sender is None:
            self.say("503 5.5.1 MAIL first")
        elif not address:
            self.say("501 5.5.4 Syntax: RCPT TO:<address>")
        elif bad := self._unknown(options):
            self.say(f"555 5.5.4 Unsupported option {bad}")
        else:
            self.recipients.append(address)
            self.rcpt_options.extend(options)
            self.say("250 2.1.5 Ok")

    def _data(self, argument: str) -> None:
        if not self.recipients or self.chunks:
            self.say("503 5.5.1 RCPT first")
            return
        self.say("354 Go on")
        self._deliver(self.wire.read_content())

    def _bdat(self, argument: str) -> None:
        size, _, last = argument.partition(" ")
        if "CHUNKING" not in self.sink.extensions or not size.isdigit():
            self.say("500 5.5.2 Unknown command")
            return
        chunk = self.wire.read_chunk(int(size))
        reply = self.scripted("BDAT")
        if reply is not None:
            self._reset()
            self.say(reply)
        elif not self.recipients:
            self.say("503 5.5.1 RCPT first")
        elif last.upper() == "LAST":
            self._deliver(b"".join([*self.chunks, chunk]))
        else:
            self.chunks.append(chunk)
            self.say(f"250 2.0.0 {size} octets")

    def _deliver(self, content: bytes) -> None:
        reply = self.scripted("content")
        if reply is None and (limit := self._limit()) and len(content) > limit:
            reply = "552 5.3.4 Message too big"
        if reply is None:
            reply = f"250 2.0.0 Ok: queued as {len(self.sink.messages) + 1}"
        refused = reply[0] != "2"
        replies = [reply]
        accepted = self.recipients
        if self.sink.lmtp:
            # RFC 2033 section 4.2: one reply for each recipient that was accepted.
            mine = [self.scripted(f"deliver {address}") or reply for address in accepted]
            accepted = [a for a, r in zip(accepted, mine, strict=True) if r[0] == "2"]
            replies, refused = mine, not accepted
        if not refused:
            self._keep(content, accepted)
        self._reset()
        for each in replies:
            self.say(each)

    def _keep(self, content: bytes, accepted: list[str]) -> None:
        assert self.sender is not None
        self.sink._keep(
            Received(
                mail_from=self.sender,
                rcpt_tos=tuple(accepted),
                content=content,
                connection=self.index,
                mail_options=self.mail_options,
                rcpt_options=tuple(self.rcpt_options),
                user=self.user,
                is_tls=self.wire.peer.is_tls,
            )
        )

    def _rset(self, argument: str) -> None:
        self._reset()
        self.say("250 2.0.0 Ok")

    def _noop(self, argument: str) -> None:
        self.say("250 2.0.0 Ok")

    def _vrfy(self, argument: str) -> None:
        self.say(f"252 2.0.0 {argument}")

    def _quit(self, argument: str) -> None:
        self.say("221 2.0.0 Bye")
        self._end()

    def _limit(self) -> int:
        sizes = [e[5:] for e in self.sink.extensions if e.upper().startswith("SIZE ")]
        return int(sizes[0]) if sizes else 0

    def _unknown(self, options: tuple[str, ...]) -> str | None:
        announced = {extension.partition(" ")[0].upper() for extension in self.sink.extensions}
        for option in options:
            name = option.partition("=")[0].upper()
            if name == "AUTH" and self.sink.mechanisms:
                continue
            if _PARAMETERS.get(name) not in announced:
                return option
        return None


def _path(argument: str, keyword: str) -> tuple[str | None, tuple[str, ...]]:
    """The address and the parameters of MAIL or RCPT; None if there is no path."""
    if not argument.upper().startswith(keyword + "<") or ">" not in argument:
        return None, ()
    # A quoted local part may contain ">", and a parameter may not (RFC 5321 section 4.1.2).
    path, _, parameters = argument[len(keyword) + 1 :].rpartition(">")
    return path, tuple(parameters.split())


def _declared_size(options: tuple[str, ...]) -> int:
    sizes = [o[5:] for o in options if o.upper().startswith("SIZE=")]
    return int(sizes[0]) if sizes and sizes[0].isdigit() else 0
