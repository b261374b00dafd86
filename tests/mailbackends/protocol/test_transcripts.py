"""Recorded conversations with real servers: the same lines, and the same result.

Each is played three times: with the server's writes whole, so that several replies arrive at once,
in halves, and byte by byte.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailbackends.errors import SMTPException, SMTPServerDisconnected
from mailbackends.mime.content import from_bytes
from mailbackends.protocol import sasl
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.dialogue import greeting, hello, login, quit_now, starttls
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import Session, Want
from mailbackends.protocol.transaction import deliver

FILES = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))
CONTENT = from_bytes(b"Subject: Hello\r\n\r\nHello.\r\n")

WAYS = {
    "whole": lambda data: [data],
    "halves": lambda data: [data[: len(data) // 2], data[len(data) // 2 :]],
    "byte by byte": lambda data: [data[i : i + 1] for i in range(len(data))],
}


@dataclass
class Transcript:
    """One file, read."""

    head: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[Envelope, str]] = field(default_factory=list)
    writes: list[tuple[str, bytes]] = field(default_factory=list)
    """The side (``C``, ``S`` or ``TLS``) and its line."""

    @classmethod
    def read(cls, path):
        found = cls()
        head, _, body = path.read_text("utf-8").partition("\n\n")
        for line in head.splitlines():
            key, _, value = line.partition(": ")
            if key == "message":
                sender, _, recipients = value.partition(" > ")
                found.messages.append((Envelope(sender, tuple(recipients.split(", "))), ""))
            elif key == "expect":
                found.messages[-1] = (found.messages[-1][0], value)
            else:
                found.head[key] = value
        for line in body.splitlines():
            who, _, text = line.partition(": ") if line != "TLS" else ("TLS", "", "")
            data = f"{text}\r\n".encode() if who != "TLS" else b""
            if found.writes and found.writes[-1][0] == who:
                data = found.writes.pop()[1] + data
            found.writes.append((who, data))
        return found


class Player:
    """Plays the server's part, and compares ours."""

    def __init__(self, session, writes, cut):
        self.session = session
        self.writes = writes
        self.cut = cut
        self.sent = b""
        self.arriving = []

    def run(self, dialogue):
        try:
            want = next(dialogue)
            while True:
                try:
                    reply = self.fulfil(want)
                except SMTPException as error:
                    self.session.close()
                    want = dialogue.throw(error)
                else:
                    want = dialogue.send(reply)
        except StopIteration as stop:
            return stop.value

    def fulfil(self, want):
        if want is Want.TLS:
            assert self.writes.pop(0)[0] == "TLS"
            return None
        while True:
            if (reply := self.session.next_reply()) is not None:
                return reply
            self.write()
            if not self.arriving and self.writes and self.writes[0][0] == "S":
                self.arriving = self.cut(self.writes.pop(0)[1])
            if not self.arriving:
                raise SMTPServerDisconnected("Connection unexpectedly closed")
            self.session.receive_data(self.arriving.pop(0))

    def write(self):
        data = b""
        while buffers := self.session.data_to_send(65536):
            data += b"".join(buffers)
        self.session.bytes_sent(len(data))
        if data:
            assert self.writes, f"the recording ends here, and we send {data!r}"
            assert not self.arriving
            assert self.writes.pop(0) == ("C", data)


def what_became(player, envelope, chunking):
    # What the session has shown about BDAT counts for the next message.
    chunking = player.session.chunking or chunking
    dialogue = deliver(player.session, envelope, CONTENT, chunking=chunking, is_fresh=True)
    try:
        delivery = player.run(dialogue)
    except SMTPException as error:
        return f"{type(error).__name__} {error.outcome}"
    refused = [f"refused {to} {reply.code}" for to, reply in delivery.refused.items()]
    return "; ".join([f"accepted {', '.join(delivery.accepted)}", *sorted(refused)])


@pytest.mark.parametrize("cut", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_conversation_is_repeated(path, cut):
    script = Transcript.read(path)
    session = Session(is_lmtp=script.head.get("protocol") == "lmtp")
    player = Player(session, script.writes, cut)
    player.run(greeting(session))
    player.run(hello(session, "client.example.com"))
    if script.head.get("starttls") == "yes":
        player.run(starttls(session, "client.example.com"))
    if "login" in script.head:
        user, password, *mechanisms = script.head["login"].split()
        dialogue = login(session, sasl.Credentials(user, password), mechanisms)
        if expected := script.head.get("expect-login"):
            with pytest.raises(SMTPException) as caught:
                player.run(dialogue)
            assert type(caught.value).__name__ == expected
        else:
            player.run(dialogue)
    chunking = Chunking[script.head.get("chunking", "unproved").upper()]
    for envelope, expected in script.messages:
        assert what_became(player, envelope, chunking) == expected
    assert session.is_reusable is (script.head["end"] == "reusable")
    if script.writes:
        quit_now(session)
        player.write()
        assert player.writes.pop(0)[1].startswith(b"221 ")
    assert script.writes == []


def test_there_is_a_conversation_with_each_known_server():
    servers = {path.stem.partition("-")[0] for path in FILES}
    assert {"aiosmtpd", "dovecot", "exim", "haraka", "opensmtpd", "postfix", "smtp"} <= servers
