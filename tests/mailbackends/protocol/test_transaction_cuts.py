"""Every reply to every command, and an end after each: the outcome agrees with the server's.

The oracle below has the server's view: what it received, and what it answered.
"""

import itertools

import pytest

from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.protocol.envelope import Envelope
from support.sent import CHUNK, FLIGHT, GROUP, LOCK_STEP, TWO, Sent

YES, NO, LATER, BYE = "250", "550", "450", "421"
ENDINGS = [
    lambda: SMTPServerDisconnected("Connection unexpectedly closed"),
    lambda: SMTPTimeoutError("timed out"),
]


class Oracle:
    """The server's view, from its replies in order."""

    def __init__(self, keywords, replies, *, lmtp, recipients):
        pipelining, chunking = "PIPELINING" in keywords, "CHUNKING" in keywords
        replies = list(replies)
        self.heard = len(replies)
        self.last = replies[-1] if replies else ""
        mail = replies.pop(0) if replies else None
        self.sender_refused = mail in (NO, LATER)
        skips_rcpt = self.sender_refused and not pipelining
        rcpts = [] if skips_rcpt else replies[: len(recipients)]
        replies = replies[len(rcpts) :]
        self.taken = [to for to, r in zip(recipients, rcpts, strict=False) if r == YES]
        self.refused = {to for to, r in zip(recipients, rcpts, strict=False) if r in (NO, LATER)}
        self.all_refused = len(self.refused) == len(recipients)
        self.got_421 = BYE in (mail, *rcpts)
        answered = len(rcpts) == len(recipients)
        if pipelining and chunking:
            self.has_content = True
        elif chunking:
            self.has_content = answered and not self.got_421 and bool(self.taken)
            self.has_content &= not self.sender_refused
        else:
            data = replies.pop(0) if answered and replies else None
            self.data_refused = data in (NO, LATER)
            self.got_421 |= data == BYE
            self.has_content = data == "354" and not self.sender_refused and bool(self.taken)
        self.content = replies if self.has_content else []

    def accepted(self, *, lmtp):
        """The recipients for whom it took responsibility, as far as its replies were sent.

        An acceptance after a refused sender belongs to another transaction.
        """
        if self.sender_refused:
            return []
        if lmtp:
            return [to for to, r in zip(self.taken, self.content, strict=False) if r == YES]
        return self.taken if self.content[:1] == [YES] else []


def scripts(keywords, *, lmtp, recipients, length):
    """All sequences of ``length`` replies that a server can come to."""
    data = [] if "CHUNKING" in keywords else [["354", NO, BYE]]
    late = len(recipients) if lmtp else 1
    steps = [[YES, NO, BYE], *[[YES, NO, LATER, BYE]] * len(recipients), *data]
    steps += [[YES, LATER, BYE]] * late
    for script in itertools.product(*steps[:length]):
        # Nothing follows 421.
        if BYE not in script[:-1]:
            yield script


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize(
    "keywords", [FLIGHT, GROUP, LOCK_STEP, CHUNK], ids=["flight", "group", "lock-step", "chunk"]
)
@pytest.mark.parametrize("ending", ENDINGS, ids=["closed", "silent"])
def test_the_outcome_is_what_the_server_knows(keywords, lmtp, ending):
    recipients = TWO.forward_paths
    seen = 0
    for length in range(7):
        for script in scripts(keywords, lmtp=lmtp, recipients=recipients, length=length):
            check(keywords, script, lmtp, ending)
            seen += 1
    assert seen > 50


def check(keywords, script, lmtp, ending):
    replies = [f"{code} said\r\n".encode() for code in script]
    sent = Sent(keywords, replies, envelope=TWO, lmtp=lmtp, ending=ending)
    used = script[: len(script) - len(list(sent.runner.replies))]
    oracle = Oracle(keywords, used, lmtp=lmtp, recipients=TWO.forward_paths)
    accepted = oracle.accepted(lmtp=lmtp)
    error, note = sent.error, (keywords, script, used)

    if sent.result is not None:
        assert sent.result.accepted == accepted != [], note
        assert {*accepted, *sent.result.refused} == set(TWO.forward_paths), note
        return
    assert error.accepted == tuple(accepted), note
    contradicts = oracle.content[:1] == [YES] and keywords == FLIGHT
    if isinstance(error, SMTPDeliveryUnknown) and (
        oracle.all_refused or (oracle.sender_refused and contradicts)
    ):
        # It took the content of a message that it had refused.
        assert oracle.content[:1] == [YES], note
        assert error.unknown == TWO.forward_paths, note
        return
    if isinstance(error, SMTPDeliveryUnknown):
        assert oracle.has_content, note
        parts = [*error.accepted, *error.refused, *error.unknown]
        assert sorted(parts) == sorted(TWO.forward_paths), note
        assert error.unknown, note
        assert not sent.session.is_reusable, note
    elif error.outcome is Outcome.NOT_SENT:
        assert oracle.got_421 or not oracle.has_content, note
        assert not oracle.sender_refused, note
        assert not sent.session.is_reusable, note
    else:
        assert error.outcome is Outcome.REFUSED, note
        assert accepted == [], note
        if isinstance(error, SMTPSenderRefused):
            assert oracle.sender_refused, note
        elif isinstance(error, SMTPRecipientsRefused):
            assert error.refused.keys() == set(TWO.forward_paths), note
        else:
            assert isinstance(error, SMTPDataError), note
            assert oracle.last in (NO, LATER, BYE), note
    # Exactly the refused recipients are reported as refused.
    if not isinstance(error, SMTPSenderRefused | SMTPRecipientsRefused):
        assert oracle.refused <= set(error.refused), note


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize(
    ("keywords", "before"), [(FLIGHT, b""), (GROUP, b"354 go\r\n"), (LOCK_STEP, b"354 go\r\n")]
)
def test_the_end_of_the_content_is_its_last_byte(keywords, before, lmtp):
    one = Envelope("me@x", ("a@x",))
    replies = [b"250 ok\r\n", b"250 ok\r\n", *([before] if before else [])]
    if keywords is FLIGHT:
        replies = []
    whole = len(Sent(keywords, replies, envelope=one, lmtp=lmtp).runner.sent)
    for takes in range(whole + 1):
        sent = Sent(keywords, replies, envelope=one, lmtp=lmtp, takes=takes)
        assert len(sent.runner.sent) == takes
        expected = Outcome.UNKNOWN if takes == whole else Outcome.NOT_SENT
        assert sent.outcome is expected, takes
