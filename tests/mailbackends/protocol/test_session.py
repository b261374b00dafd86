"""The session: which command may be sent when, which reply answers it, and the final state."""

import pytest

from mailbackends.errors import SMTPProtocolError, SMTPServerDisconnected
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.command import Command, mail, rcpt
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.session import Session, State
from support.runner import Runner, ready_session


def written(session):
    """Send everything queued to the operating system."""
    out = b""
    while buffers := session.data_to_send(65536):
        data = b"".join(buffers)
        session.bytes_sent(len(data))
        out += data
    return out


def send(session, *commands):
    for command in commands:
        session.send(command)
    return written(session)


def answered(session, *replies):
    for reply in replies:
        session.receive_data(reply + b"\r\n")
    return [session.next_reply().code for _ in replies]


def test_the_greeting_is_awaited_from_the_start():
    session = Session()
    assert session.state is State.CONNECTED
    assert session.next_reply() is None
    assert answered(session, b"220 hi") == [220]
    assert session.state is State.GREETED


def test_nothing_is_sent_before_the_greeting():
    session = Session()
    assert session.extensions == Extensions()
    with pytest.raises(RuntimeError, match="must wait for the reply to greeting"):
        session.send(Command("EHLO", "here"))


# --- the table of states --------------------------------------------------------------


def in_state(state):
    session = ready_session("PIPELINING", "CHUNKING")
    if state is State.GREETED:
        session = Session()
        answered(session, b"220 hi")
    elif state in (State.MAIL, State.CONTENT):
        send(session, mail("a@x"))
        answered(session, b"250 ok")
        if state is State.CONTENT:
            send(session, Command("DATA"))
            answered(session, b"354 go")
    elif state is State.FAILED:
        send(session, mail("a@x"))
        answered(session, b"550 no")
    assert session.state is state
    return session


@pytest.mark.parametrize(
    ("before", "verb", "reply", "after"),
    [
        (State.GREETED, "EHLO", b"250 hi", State.READY),
        (State.GREETED, "EHLO", b"502 what", State.GREETED),
        (State.GREETED, "HELO", b"250 hi", State.READY),
        (State.GREETED, "LHLO", b"250 hi", State.READY),
        (State.READY, "STARTTLS", b"220 go", State.READY),
        (State.READY, "STARTTLS", b"454 no", State.READY),
        (State.READY, "AUTH", b"235 in", State.READY),
        (State.READY, "AUTH", b"334 more", State.READY),
        (State.READY, "AUTH", b"535 no", State.READY),
        (State.READY, "NOOP", b"250 ok", State.READY),
        (State.READY, "MAIL", b"250 ok", State.MAIL),
        (State.READY, "MAIL", b"450 later", State.FAILED),
        (State.READY, "MAIL", b"550 no", State.FAILED),
        (State.MAIL, "RCPT", b"250 ok", State.MAIL),
        (State.MAIL, "RCPT", b"550 no", State.MAIL),
        (State.MAIL, "DATA", b"354 go", State.CONTENT),
        (State.MAIL, "DATA", b"554 no", State.FAILED),
        (State.FAILED, "RSET", b"250 ok", State.READY),
        (State.FAILED, "RSET", b"500 what", State.CLOSED),
        (State.READY, "QUIT", b"221 bye", State.CLOSED),
        (State.READY, "QUIT", b"500 what", State.CLOSED),
    ],
)
def test_a_reply_changes_the_state_as_the_table_says(before, verb, reply, after):
    session = in_state(before)
    send(session, Command(verb))
    answered(session, reply)
    assert session.state is after


@pytest.mark.parametrize(
    ("reply", "after"), [(b"250 got it", State.READY), (b"554 no", State.FAILED)]
)
def test_the_reply_to_the_content_changes_the_state_as_the_table_says(reply, after):
    session = in_state(State.CONTENT)
    session.send_content([b"x\r\n", b".\r\n"])
    written(session)
    answered(session, reply)
    assert session.state is after
    assert session.is_reusable


@pytest.mark.parametrize("state", [State.GREETED, State.READY, State.MAIL, State.FAILED])
@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "STARTTLS", "AUTH"])
def test_a_421_closes_the_session_at_every_step(state, verb):
    session = in_state(state)
    send(session, Command(verb))
    answered(session, b"421 bye")
    assert session.state is State.CLOSED


def test_a_421_in_place_of_the_greeting_or_unasked_closes_the_session():
    fresh = Session()
    answered(fresh, b"421 too busy")
    idle = ready_session()
    answered(idle, b"421 idle")
    assert fresh.state is idle.state is State.CLOSED


@pytest.mark.parametrize("reply", [b"250 ok", b"354 go", b"550 no"])
def test_no_reply_changes_the_state_closed(reply):
    session = in_state(State.MAIL)
    send(session, Command("DATA" if reply.startswith(b"354") else "RSET"))
    session.close()
    answered(session, reply)
    assert session.state is State.CLOSED
    assert not session.is_reusable


def test_nothing_can_be_sent_over_a_closed_session():
    session = ready_session()
    session.close()
    with pytest.raises(SMTPServerDisconnected, match="closed"):
        session.send(Command("NOOP"))


# --- which reply belongs to which command ---------------------------------------------


@pytest.mark.parametrize("reply", [b"250 ok", b"550 no", b"354 go", b"235 welcome"])
def test_a_reply_that_no_command_asked_for_closes_the_session(reply):
    session = ready_session()
    session.receive_data(reply + b"\r\n")
    with pytest.raises(SMTPProtocolError, match="a reply to no command"):
        session.next_reply()
    assert session.state is State.CLOSED


@pytest.mark.parametrize("reply", [b"250 ok", b"550 no"])
def test_a_reply_before_its_command_closes_the_session(reply):
    session = ready_session()
    session.receive_data(reply + b"\r\n")
    session.send(mail("a@x"))
    with pytest.raises(SMTPProtocolError, match="a reply before its command"):
        session.next_reply()
    assert session.state is State.CLOSED


def test_a_421_may_come_before_the_command():
    session = ready_session()
    session.receive_data(b"421 idle\r\n")
    session.send(mail("a@x"))
    assert session.next_reply().code == 421


def test_a_command_counts_as_sent_only_with_its_last_byte():
    session = ready_session("PIPELINING")
    session.send(mail("a@x"))
    session.send(rcpt("b@x"))
    size = len(b"".join(session.data_to_send(65536)))
    second = len(b"RCPT TO:<b@x>\r\n")
    session.bytes_sent(size - second)
    assert answered(session, b"250 ok") == [250]
    session.bytes_sent(second - 1)
    session.receive_data(b"250 ok\r\n")
    with pytest.raises(SMTPProtocolError, match="before its command"):
        session.next_reply()


def test_a_second_reply_to_one_command_is_detected_at_the_next_command():
    session = ready_session()
    send(session, Command("RSET"))
    session.receive_data(b"250 ok\r\n250 ok\r\n")
    assert session.next_reply().code == 250
    assert not session.is_reusable
    session.send(mail("a@x"))
    with pytest.raises(SMTPProtocolError):
        session.next_reply()


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("EHLO", b"334 more"),
        ("MAIL", b"354 go"),
        ("MAIL", b"300 what"),
        ("MAIL", b"399 what"),
        ("RCPT", b"354 go"),
        ("RSET", b"354 go"),
        ("DATA", b"250 ok"),
        ("DATA", b"299 what"),
        ("DATA", b"300 what"),
        ("DATA", b"334 more"),
        ("AUTH", b"354 go"),
        ("STARTTLS", b"334 more"),
    ],
)
def test_a_reply_that_cannot_answer_the_command_closes_the_session(verb, reply):
    session = in_state(State.READY)
    send(session, Command(verb))
    session.receive_data(reply + b"\r\n")
    with pytest.raises(SMTPProtocolError, match=f"{reply[:3].decode()} cannot answer {verb}"):
        session.next_reply()
    assert session.state is State.CLOSED


def test_the_content_cannot_be_answered_with_go_ahead():
    session = in_state(State.CONTENT)
    session.send_content([b".\r\n"])
    written(session)
    session.receive_data(b"354 go\r\n")
    with pytest.raises(SMTPProtocolError, match="354 cannot answer content"):
        session.next_reply()


@pytest.mark.parametrize("code", [b"200", b"299", b"400", b"599"])
def test_the_codes_of_replies_reach_from_200_to_599(code):
    session = ready_session()
    send(session, Command("RSET"))
    assert answered(session, code + b" x") == [int(code)]


@pytest.mark.parametrize("code", [b"199", b"600", b"999", b"000", b"abc", b"-1 ", b""])
def test_data_that_is_not_a_reply_closes_the_session(code):
    session = Session()
    session.receive_data(code + b" hello\r\n")
    with pytest.raises(SMTPProtocolError):
        session.next_reply()
    assert session.state is State.CLOSED


# --- groups ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb", ["EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "", "DATA", "QUIT", "NOOP", "VRFY", "EXPN"]
)
def test_nothing_follows_a_command_that_ends_its_group(verb):
    session = ready_session()
    session.send(Command(verb))
    with pytest.raises(RuntimeError, match="must wait"):
        session.send(Command("RSET"))


def test_nothing_follows_content():
    session = ready_session()
    session.send_last_chunk(1, [b"x"])
    with pytest.raises(RuntimeError, match="must wait for the reply to content"):
        session.send(mail("a@x"))


@pytest.mark.parametrize("verb", ["DATA", "MAIL"])
def test_no_command_follows_the_content_of_data_before_its_reply(verb):
    session = ready_session()
    send(session, Command(verb))
    answered(session, b"354 go" if verb == "DATA" else b"250 ok")
    session.send_content([b".\r\n"])
    with pytest.raises(RuntimeError, match="must wait for the reply to content"):
        session.send(Command("RSET"))


def test_a_group_is_one_buffer():
    session = ready_session()
    assert send(session, Command("RSET"), mail("a@x"), rcpt("b@x"), Command("DATA")) == (
        b"RSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    )
    assert answered(session, b"250", b"250", b"250", b"354") == [250, 250, 250, 354]


# --- content --------------------------------------------------------------------------


def test_content_is_pulled_while_it_is_sent_and_its_end_is_known_only_then():
    pulled = []

    def buffers():
        for number in range(5):
            pulled.append(number)
            yield b"x" * 100

    session = in_state(State.CONTENT)
    content = session.send_content(buffers())
    assert (pulled, session.was_sent(content)) == ([], False)
    taken = session.data_to_send(150)
    assert (pulled, [len(b) for b in taken]) == ([0, 1], [100, 100])
    session.bytes_sent(200)
    session.data_to_send(300)
    session.bytes_sent(300)
    assert not session.was_sent(content)  # it is not yet known that this was the end
    assert session.has_output
    assert session.data_to_send(1) == []
    assert not session.has_output
    assert session.was_sent(content)


def test_an_empty_piece_of_content_is_skipped():
    """No socket accepts it: a driver would try forever."""
    session = in_state(State.CONTENT)
    content = session.send_content([b"", b"one", b"", memoryview(b""), b"two", b""])
    assert session.data_to_send(100) == [b"one", b"two"]
    session.bytes_sent(6)
    assert session.data_to_send(100) == []
    assert session.was_sent(content)


@pytest.mark.parametrize("missing", [0, 1, 12])
def test_the_content_counts_as_sent_with_its_last_byte(missing):
    session = ready_session()
    content = session.send_last_chunk(12, [b"Hello, ", b"World"])
    size = len(b"".join(session.data_to_send(65536)))
    assert session.data_to_send(65536) == []
    session.bytes_sent(size - missing)
    assert session.was_sent(content) is (missing == 0)


def test_without_content_none_was_sent():
    assert not ready_session().was_sent(None)


def test_commands_after_a_chunk_are_answered_only_after_they_were_sent():
    session = ready_session()
    session.send_last_chunk(100, [b"x" * 100])
    session.allow_next_transaction()
    session.send(Command("RSET"))
    size = len(b"".join(session.data_to_send(65536)))
    session.bytes_sent(size - 1)
    answered(session, b"250 ok")
    session.receive_data(b"250 too early\r\n")
    with pytest.raises(SMTPProtocolError, match="before its command"):
        session.next_reply()


def test_with_lmtp_the_last_reply_to_the_content_ends_the_transaction():
    session = ready_session(is_lmtp=True)
    send(session, mail("a@x"))
    answered(session, b"250 ok")
    session.send_last_chunk(1, [b"x"])
    written(session)
    session.expect_content_replies(2)
    answered(session, b"250 ok", b"452 full")
    assert (session.state, session.is_reusable) == (State.MAIL, False)
    answered(session, b"250 ok")
    assert (session.state, session.is_reusable) == (State.READY, True)


def test_a_421_among_the_replies_to_the_content_closes_lmtp_too():
    session = ready_session(is_lmtp=True)
    session.send_last_chunk(1, [b"x"])
    written(session)
    session.expect_content_replies(1)
    answered(session, b"421 bye")
    assert session.state is State.CLOSED


# --- TLS ------------------------------------------------------------------------------


def test_tls_makes_the_session_forget_what_was_received_in_clear():
    session = ready_session("SIZE 1000", "AUTH PLAIN")
    session.check_nothing_buffered()
    session.start_tls()
    assert session.is_tls
    assert session.state is State.GREETED
    assert "AUTH" not in session.extensions


@pytest.mark.parametrize("injected", [b"250 hi\r\n", b"2", b"\r\n", b"250-AUTH PLAIN\r\n"])
def test_a_byte_in_clear_after_the_reply_to_starttls_is_an_injection(injected):
    session = ready_session("STARTTLS")
    send(session, Command("STARTTLS"))
    session.receive_data(b"220 go\r\n" + injected)
    assert session.next_reply().code == 220
    with pytest.raises(SMTPProtocolError, match="in clear"):
        session.check_nothing_buffered()
    assert session.state is State.CLOSED


# --- whether it can be used again -----------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_a_session_is_reusable_in_two_states_only(state):
    session = ready_session()
    session.state = state
    assert session.is_reusable is (state in (State.READY, State.FAILED))


def test_a_session_is_not_reusable_with_a_command_in_flight():
    session = ready_session()
    session.send(Command("RSET"))
    assert not session.is_reusable
    written(session)
    assert not session.is_reusable
    answered(session, b"250 ok")
    assert session.is_reusable


@pytest.mark.parametrize("left", [b"2", b"250-x\r\n", b"250 x\r\n"])
def test_a_session_is_not_reusable_with_unread_bytes(left):
    session = ready_session()
    session.receive_data(left)
    assert not session.is_reusable


def test_an_abandoned_transaction_stays_open_until_rset():
    session = in_state(State.MAIL)
    session.abandon_transaction()
    assert session.state is State.FAILED
    session = in_state(State.READY)
    session.abandon_transaction()
    assert session.state is State.READY


# --- the trace ------------------------------------------------------------------------


def test_the_trace_has_a_line_for_each_command_and_reply_and_no_secret():
    trace = []
    session = Session(trace=trace.append)
    runner = Runner(session)
    session.receive_data(b"220 hi\r\n")
    session.next_reply()
    session.send(Command("AUTH", "PLAIN c2VjcmV0", is_secret=True))
    runner.write()
    answered(session, b"334 ")
    session.send(Command("", "c2VjcmV0", is_secret=True))
    runner.write()
    answered(session, b"235-welcome\r\n235 in")
    assert trace == ["< 220 hi", "> AUTH PLAIN ***", "< 334", "> ***", "< 235 welcome in"]
    assert b"c2VjcmV0" in runner.sent


def test_a_queued_secret_is_not_in_the_repr_of_the_buffers():
    session = ready_session()
    session.send(Command("AUTH", "PLAIN c2VjcmV0", is_secret=True))
    assert "c2VjcmV0" not in repr(session.data_to_send(65536))


def test_a_content_awaits_its_reply_once_all_of_it_was_sent():
    session = ready_session("PIPELINING", "CHUNKING")
    session.send(mail("a@b.example"), rcpt("c@d.example"))
    assert not session.awaits_content_reply
    session.send_last_chunk(5, (b"hello",))
    assert not session.awaits_content_reply
    sent = b"".join(session.data_to_send(1000))
    session.bytes_sent(len(sent) - 1)
    assert not session.awaits_content_reply
    session.bytes_sent(1)
    assert session.awaits_content_reply
    session.receive_data(b"250 ok\r\n" * 3)
    assert [session.next_reply().code for _ in range(3)] == [250, 250, 250]
    assert not session.awaits_content_reply


def test_what_was_shown_about_bdat_is_taken_once():
    session = Session()
    session.chunking = Chunking.PROVED
    assert session.take_chunking() is Chunking.PROVED
    assert session.take_chunking() is None
