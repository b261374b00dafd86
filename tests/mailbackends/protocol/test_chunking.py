"""BDAT is trusted only after it worked; a server without it never reads content as commands."""

import pytest

from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.mime.content import Content, from_bytes
from mailbackends.mime.pieces import EncodedBytes
from mailbackends.protocol.chunking import Chunking, split_content
from mailbackends.protocol.session import State
from mailbackends.protocol.transaction import deliver
from support.runner import Runner, ready_session
from support.sent import BYE, CHUNK, CONTENT, FLIGHT, GO, LARGE, NO, OK, ONE, TWO, Sent

UNPROVED = {"chunking": Chunking.UNPROVED}
STALE = {"is_fresh": False}
FIRST, REST = b"Subject: hi\r\n", b"\r\n.dot\r\n"
PROBE = [b"BDAT 13", b"Subject: hi"]
ENVELOPE = [b"MAIL FROM:<me@x>", b"RCPT TO:<a@x>"]
BY_DATA = [*ENVELOPE, b"DATA", b"Subject: hi", b"", b"..dot", b"."]
CODES = [b"500", b"501", b"502", b"503", b"504", b"550", b"554", b"555", b"452"]

both_ways = pytest.mark.parametrize("keywords", [FLIGHT, CHUNK], ids=["pipelining", "lock-step"])


# --- the first chunk ------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"Subject: hi\r\n\r\nbody\r\n",
        b"From: a@b.example\r\nTo: c@d.example\r\n\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\td=a.example\r\nFrom: a@b.example\r\n\r\nx\r\n",
        b"X-Anything:no space\r\n\r\n",
        b"Mime-Version: 1.0\r\nData: x\r\n\r\n",
    ],
)
def test_the_first_chunk_is_the_first_line_and_the_rest_follows_unchanged(data):
    split = split_content(from_bytes(data))
    assert split.first == data[: data.index(b"\r\n") + 2]
    assert split.first + b"".join(split.rest) == data
    assert len(split.first) + split.rest_size == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\nno header\r\n",
        b"not a header field\r\n\r\n",
        b" Continued: line\r\n\r\n",
        b"Subject: \xc3\xbc\r\n\r\n",
        b"Subject: \x00\r\n\r\n",
        b"Subject: only this line\r\n",
        b"Subject: " + b"x" * 600 + b"\r\n\r\n",
        b"Data: read as a command by some\r\n\r\n",
        b"QUIT: x\r\n\r\n",
        b"Mail-Followup-To: a@b.example\r\n\r\n",
        b"helo-name: x\r\n\r\n",
    ],
)
def test_content_without_a_harmless_first_line_is_not_split_and_sent_by_data(data):
    content = from_bytes(data)
    assert split_content(content) is None
    sent = Sent(FLIGHT, [OK, OK, GO, OK], content=content, **UNPROVED)
    assert sent.lines[2] == b"DATA"
    assert sent.result.accepted == ["a@x"]
    assert sent.session.chunking is None


def test_content_that_is_produced_while_it_is_sent_is_split_too():
    head = b"Subject: hi\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    made = EncodedBytes(bytes(200_000))
    content = Content((head, made), False, len(head) + made.size)
    split = split_content(content)
    whole = b"".join(content.chunk())
    assert split.first + b"".join(split.rest) == whole
    assert split.rest_size == len(whole) - len(split.first)
    assert split_content(Content((made, head), False, content.size)) is None


# --- a server that supports BDAT ------------------------------------------------------


def test_the_first_chunk_goes_with_the_envelope_and_the_rest_after_its_reply():
    sent = Sent(FLIGHT, [OK, OK, OK, OK], **UNPROVED)
    assert sent.lines == [*ENVELOPE, *PROBE, b"BDAT 8 LAST", b"", b".dot"]
    assert sent.result.accepted == ["a@x"]
    assert sent.session.chunking is Chunking.PROVED
    assert sent.session.is_reusable


def test_nothing_follows_the_first_chunk_before_its_reply():
    session = ready_session(*FLIGHT)
    runner = Runner(session, [OK, OK])
    with pytest.raises(SMTPServerDisconnected):
        runner.run(deliver(session, ONE, CONTENT, **UNPROVED))
    assert runner.lines == [*ENVELOPE, *PROBE]


def test_without_pipelining_the_first_chunk_waits_for_the_envelope():
    sent = Sent(CHUNK, [OK, OK, OK, OK], **UNPROVED)
    assert sent.lines == [*ENVELOPE, *PROBE, b"BDAT 8 LAST", b"", b".dot"]
    assert sent.session.chunking is Chunking.PROVED


def test_large_content_is_two_chunks_too():
    sent = Sent(FLIGHT, [OK, OK, OK, OK], content=LARGE, **UNPROVED)
    assert sent.lines[:5] == [*ENVELOPE, *PROBE, b"BDAT %d LAST" % (LARGE.size - 13)]
    assert sent.result.accepted == ["a@x"]


@both_ways
def test_after_a_failed_transaction_the_first_chunk_waits_for_the_reply_to_rset(keywords):
    sent = Sent(keywords, [OK, OK, OK, OK, OK], failed=True, **UNPROVED)
    assert sent.lines == [b"RSET", *ENVELOPE, *PROBE, b"BDAT 8 LAST", b"", b".dot"]
    assert sent.session.chunking is Chunking.PROVED


def test_lmtp_has_one_reply_to_the_first_chunk_and_one_for_each_recipient_to_the_last():
    sent = Sent(FLIGHT, [OK, OK, OK, OK, OK, NO], envelope=TWO, lmtp=True, **UNPROVED)
    assert sent.result.accepted == ["a@x"]
    assert list(sent.result.refused) == ["b@x"]
    assert sent.session.is_reusable


def test_a_refusal_of_the_last_chunk_refuses_the_content():
    sent = Sent(FLIGHT, [OK, OK, OK, b"554 5.7.1 spam\r\n"], **UNPROVED)
    assert isinstance(sent.error, SMTPDataError)
    assert (sent.outcome, sent.session.chunking) == (Outcome.REFUSED, Chunking.PROVED)


@pytest.mark.parametrize("chunk", [OK, b"503 5.5.1 no recipients\r\n", b"554 5.5.1 none\r\n"])
@pytest.mark.parametrize("envelope", [[OK, NO], [NO, NO]], ids=["recipients", "sender"])
def test_after_a_refused_envelope_the_first_chunk_is_reset_and_says_nothing_about_bdat(
    envelope, chunk
):
    sent = Sent(FLIGHT, [*envelope, chunk, OK], **UNPROVED)
    assert isinstance(sent.error, SMTPSenderRefused | SMTPRecipientsRefused)
    assert sent.lines == [*ENVELOPE, *PROBE, b"RSET"]
    assert (sent.outcome, sent.session.chunking) == (Outcome.REFUSED, None)
    assert sent.session.state is State.READY


# --- a server that does not -----------------------------------------------------------


@both_ways
@pytest.mark.parametrize("stray", [False, True], ids=["chunk read", "chunk taken for a command"])
@pytest.mark.parametrize("code", CODES)
def test_a_refused_first_chunk_is_followed_by_rset_and_data(keywords, stray, code):
    unknown = [b"500 unknown command\r\n"] if stray else []
    replies = [OK, OK, code + b" no\r\n", *unknown, OK, OK, OK, GO, OK]
    sent = Sent(keywords, replies, **UNPROVED)
    assert sent.result.accepted == ["a@x"]
    assert sent.lines == [*ENVELOPE, *PROBE, b"RSET", *BY_DATA]
    assert sent.session.chunking is Chunking.OFF
    assert sent.session.is_reusable


@both_ways
def test_both_refusals_may_come_at_once(keywords):
    sent = Sent(keywords, [OK, OK, b"502 no\r\n500 what?\r\n", OK, OK, OK, GO, OK], **UNPROVED)
    assert sent.result.accepted == ["a@x"]
    assert sent.session.is_reusable


class ServerWithoutBdat:
    """Reads every line that is not content as a command."""

    def __init__(self):
        self.runner = None
        self.read = 0
        self.commands = []
        self.content = []
        self.in_content = False

    def __iter__(self):
        return self

    def __next__(self):
        replies = []
        lines = bytes(self.runner.sent).split(b"\r\n")[:-1]
        while self.read < len(lines):
            line = lines[self.read]
            self.read += 1
            if self.in_content:
                self.content.append(line)
                if line == b".":
                    self.in_content = False
                    replies.append(OK)
                continue
            self.commands.append(line)
            verb = line.split(b" ")[0].upper()
            if verb in (b"MAIL", b"RCPT", b"RSET", b"QUIT"):
                replies.append(OK)
            elif verb == b"DATA":
                self.in_content = True
                replies.append(GO)
            else:
                replies.append(b"500 5.5.2 unknown command\r\n")
        if not replies:
            raise StopIteration
        return b"".join(replies)


@both_ways
def test_a_server_without_bdat_never_reads_content_as_commands(keywords):
    evil = (
        b"MAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nSubject: forged\r\n\r\n.\r\nQUIT\r\n"
    )
    content = from_bytes(b"Subject: hi\r\nTo: a@x\r\n\r\n" + evil)
    server, session = ServerWithoutBdat(), ready_session(*keywords)
    server.runner = runner = Runner(session, server)
    delivery = runner.run(deliver(session, ONE, content, **UNPROVED))
    assert delivery.accepted == ["a@x"]
    assert server.commands == [*ENVELOPE, *PROBE, b"RSET", *ENVELOPE, b"DATA"]
    assert b"\r\n".join(server.content) == (
        b"Subject: hi\r\nTo: a@x\r\n\r\n" + evil.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b"."
    )


@both_ways
@pytest.mark.parametrize("ending", [SMTPTimeoutError, SMTPServerDisconnected, SMTPProtocolError])
def test_an_unanswered_first_chunk_means_not_sent_and_no_bdat_from_then_on(keywords, ending):
    def end():
        return ending(500, b"x") if ending is SMTPProtocolError else ending("no reply")

    sent = Sent(keywords, [OK, OK], ending=end, **UNPROVED)
    assert isinstance(sent.error, ending)
    assert (sent.outcome, sent.session.chunking) == (Outcome.NOT_SENT, Chunking.OFF)


def test_a_server_that_answers_nothing_at_all_is_not_blamed_for_bdat():
    sent = Sent(FLIGHT, [OK], ending=lambda: SMTPTimeoutError("no reply"), **UNPROVED)
    assert (sent.outcome, sent.session.chunking) == (Outcome.NOT_SENT, None)


@both_ways
def test_a_421_to_the_first_chunk_means_not_sent_and_says_nothing_about_bdat(keywords):
    sent = Sent(keywords, [OK, OK, BYE], **UNPROVED)
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert (sent.outcome, sent.error.reply.code) == (Outcome.NOT_SENT, 421)
    assert sent.session.chunking is None


@pytest.mark.parametrize(
    "after", [[NO, NO], [NO, BYE], [BYE], []], ids=["refused", "421 after it", "421", "nothing"]
)
def test_if_rset_fails_after_a_refused_first_chunk_the_message_is_not_sent(after):
    sent = Sent(FLIGHT, [OK, OK, b"502 no\r\n", *after], **UNPROVED)
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert (sent.outcome, sent.session.chunking) == (Outcome.NOT_SENT, Chunking.OFF)
    assert not sent.session.is_reusable


def test_the_reply_to_data_decides():
    sent = Sent(FLIGHT, [OK, OK, OK, b"554 no\r\n", OK, OK, NO, OK, NO], envelope=TWO, **UNPROVED)
    assert isinstance(sent.error, SMTPDataError | SMTPRecipientsRefused)
    sent = Sent(
        FLIGHT, [OK, NO, OK, b"502 no\r\n", OK, OK, OK, NO, GO, OK], envelope=TWO, **UNPROVED
    )
    assert sent.result.accepted == ["a@x"]
    assert list(sent.result.refused) == ["b@x"]


def test_a_server_known_to_lack_bdat_gets_data():
    sent = Sent(FLIGHT, [OK, OK, GO, OK], chunking=Chunking.OFF)
    assert sent.lines == BY_DATA


# --- a connection that was idle -------------------------------------------------------


def test_over_an_idle_connection_the_envelope_goes_first():
    session = ready_session(*FLIGHT)
    runner = Runner(session, [])
    with pytest.raises(SMTPServerDisconnected) as caught:
        runner.run(deliver(session, ONE, CONTENT, chunking=Chunking.PROVED, is_fresh=False))
    assert runner.lines == ENVELOPE
    assert caught.value.outcome is Outcome.NOT_SENT
    sent = Sent(FLIGHT, [OK, OK, OK], **STALE)
    assert sent.lines == [*ENVELOPE, b"BDAT 21 LAST", b"Subject: hi", b"", b".dot"]
    assert sent.result.accepted == ["a@x"]


# --- a server on which BDAT has worked, and no longer does ----------------------------


@pytest.mark.parametrize(
    ("ending", "known"),
    [(SMTPTimeoutError, Chunking.OFF), (SMTPServerDisconnected, Chunking.UNPROVED)],
)
@pytest.mark.parametrize("options", [{}, STALE], ids=["one flight", "envelope first"])
def test_content_without_a_reply_is_unknown_once(ending, known, options):
    sent = Sent(FLIGHT, [OK, OK], ending=lambda: ending("no reply"), **options)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.session.chunking is known


@pytest.mark.parametrize("takes", [60, 10_000, 70_000])
def test_bdat_refused_while_the_content_is_sent_means_not_sent(takes):
    sent = Sent(
        FLIGHT, [OK, OK, b"502 no\r\n"], content=LARGE, takes=takes, chunking=Chunking.PROVED
    )
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert (sent.outcome, sent.session.chunking) == (Outcome.NOT_SENT, Chunking.OFF)


# --- 421 and a refused RSET in one flight ---------------------------------------------


def test_a_421_to_mail_in_one_flight_means_not_sent_if_the_server_closes():
    sent = Sent(FLIGHT, [BYE])
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert (sent.outcome, sent.error.reply.code) == (Outcome.NOT_SENT, 421)


@pytest.mark.parametrize("further", [[OK], [NO, OK], [OK, OK]])
def test_a_421_to_mail_in_one_flight_is_unknown_if_the_server_goes_on(further):
    sent = Sent(FLIGHT, [BYE, *further])
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x",)


def after_another(replies, **options):
    return Sent(FLIGHT, replies, follows_another=True, **options)


def test_rset_refused_before_the_server_closes_means_not_sent():
    sent = after_another([b"554 Too many nonmail commands\r\n"])
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert (sent.outcome, sent.error.reply.code) == (Outcome.NOT_SENT, 554)


def test_rset_refused_by_a_server_that_goes_on_is_unknown():
    sent = after_another([b"554 Too many nonmail commands\r\n", OK, OK, OK])
    assert isinstance(sent.error, SMTPDeliveryUnknown)


def test_rset_refused_before_the_content_was_sent_means_not_sent():
    sent = Sent(FLIGHT, [b"554 Too many nonmail commands\r\n"], failed=True)
    assert (sent.outcome, sent.error.reply.code) == (Outcome.NOT_SENT, 554)


# --- what follows a refused BDAT ----------------------------------------------------------


REFUSED = b"500 5.5.1 Unknown command\r\n"


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
def test_a_chunk_that_is_accepted_after_bdat_was_refused_is_unknown(lmtp):
    sent = Sent(FLIGHT, [OK, OK, REFUSED + OK], lmtp=lmtp)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.session.state is State.CLOSED


def test_a_refused_bdat_is_not_sent_if_the_server_closes_and_unknown_if_it_stays_silent():
    assert Sent(FLIGHT, [OK, OK, REFUSED]).outcome is Outcome.NOT_SENT
    silent = Sent(FLIGHT, [OK, OK, REFUSED], ending=lambda: SMTPTimeoutError("timed out"))
    assert (silent.outcome, silent.lines[-1]) == (Outcome.UNKNOWN, b"QUIT")


def test_a_refused_bdat_before_which_another_message_is_in_flight_sends_no_quit():
    sent = Sent(FLIGHT, [OK, OK, OK, REFUSED], follows_another=True)
    assert sent.outcome is Outcome.NOT_SENT
    assert b"QUIT" not in sent.lines


def test_in_lmtp_a_refused_bdat_is_refused_though_the_reply_to_quit_never_comes():
    sent = Sent(FLIGHT, [OK, OK, REFUSED], lmtp=True, ending=lambda: SMTPTimeoutError("timed out"))
    assert isinstance(sent.error, SMTPRecipientsRefused)
