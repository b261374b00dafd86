"""The gates of a session: what must happen before the end of a content is sent."""

from mailbackends.mime.content import Content, from_bytes
from mailbackends.protocol.command import Command
from mailbackends.protocol.gates import Gate
from mailbackends.protocol.state import State
from support.runner import ready_session
from support.sent import FLIGHT

LINES = [b"one\r\n", b"two\r\n", b".\r\n"]


def after_354(gate):
    session = ready_session()
    for command, reply in (("MAIL FROM:<>", b"250"), ("RCPT TO:<a@x>", b"250"), ("DATA", b"354")):
        verb, _, argument = command.partition(" ")
        session.send(Command(verb, argument))
        session.bytes_sent(sum(map(len, session.data_to_send(1000))))
        session.receive_data(reply + b" ok\r\n")
        session.next_reply()
    return session, session.send_content(LINES, gate)


def test_the_gate_is_due_with_the_last_buffer_of_a_content_whose_size_is_not_known():
    gate = Gate(print, "one")
    session, _ = after_354(gate)
    assert session.data_to_send(1) == [b"one\r\n"]
    assert session.pass_gates() == []
    assert session.data_to_send(1) == [b"two\r\n"]
    assert session.pass_gates() == []
    assert session.data_to_send(1) == [b".\r\n"]
    assert session.pass_gates() == [gate]
    assert session.gated == []
    assert session.pass_gates() == []


def test_the_gate_of_a_chunk_is_due_with_its_last_byte_and_opens_those_that_follow():
    session = ready_session(*FLIGHT)
    gates = [Gate(print, n) for n in (1, 2)]
    session.send(Command("MAIL", "FROM:<>"), Command("RCPT", "TO:<a@x>"))
    session.send_last_chunk(6, iter([b"one", b"two"]), gates[0])
    session.allow_next_transaction()
    session.send(Command("RSET"), Command("MAIL", "FROM:<>"), Command("RCPT", "TO:<a@x>"))
    session.send_last_chunk(3, (b"six",), gates[1])
    while b"two" not in session.data_to_send(1):
        assert session.pass_gates() == []
    assert session.pass_gates() == gates


def test_a_content_without_a_gate_needs_none():
    session, content = after_354(None)
    assert session.data_to_send(100) == LINES
    assert session.gated == []
    assert session.data_to_send(100) == []
    assert content.end is not None


def test_nothing_more_is_sent_after_a_gate_that_was_not_passed():
    session, content = after_354(Gate(print, "one"))
    session.data_to_send(1)
    session.discard_output()
    assert session.data_to_send(100) == []
    assert session.gated == []
    assert session.state is State.CLOSED
    assert not session.was_sent(content)


def test_the_marker_changes_no_byte():
    content = from_bytes(b"a\r\n.b\r\n")
    assert isinstance(content, Content)
    session, _ = after_354(Gate(print, "one"))
    session._outgoing.clear()
    session.send_content(content.dot_stuffed(), Gate(print, "two"))
    assert b"".join(session.data_to_send(100)) == b"a\r\n..b\r\n.\r\n"
