"""Whatever a server replies, each call ends with a correct result or a documented error."""

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mailbackends.errors import (
    Outcome,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.mime.content import from_bytes
from mailbackends.protocol import sasl
from mailbackends.protocol.dialogue import greeting, hello, login, starttls
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import Session
from mailbackends.protocol.transaction import deliver
from support.runner import Runner, introduced

CONTENT = from_bytes(b"Subject: hi\r\n\r\n.\r\nMAIL FROM:<evil@x>\r\n")
ENVELOPE = Envelope("me@x", ("a@x", "b@x", "c@x"))
CREDENTIALS = sasl.Credentials("user", "s3cr3t", lambda: "t0k3n")

codes = st.sampled_from(
    [
        *(200, 220, 221, 235, 250, 250, 250, 251, 252, 299, 334, 354, 354, 421, 450, 451, 452),
        *(500, 501, 502, 503, 530, 535, 550, 552, 554, 555, 599),
    ]
)
words = st.sampled_from(
    [
        *("ok", "", "5.1.1 No", "PIPELINING", "CHUNKING", "SIZE 10", "SIZE", "8BITMIME", "="),
        *("STARTTLS", "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER"),
        *("LIMITS RCPTMAX=1", "UGFzc3dvcmQ6", "cj14LHM9UVVKRCxpPTQwOTY=", "dj1BQUFB", "\u2028"),
    ]
)


@st.composite
def replies(draw):
    """A reply of one or several lines, as servers write them."""
    code = draw(codes)
    lines = draw(st.lists(words, min_size=1, max_size=6))
    last = len(lines) - 1
    return "".join(
        f"{code}{' ' if i == last else '-'}{line}\r\n" for i, line in enumerate(lines)
    ).encode()


noise = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"250-", b"250 ok\r\n250 ok\r\n", b"250 ok\n", b"\r\n", b"x" * 9000, b"999\n"]
    ),
)
# Mostly well-behaved, so that the dialogues get far.
servers = st.lists(st.one_of(replies(), replies(), replies(), replies(), noise), max_size=25)
plain = st.sampled_from([*[b"250 ok\r\n"] * 5, b"354 go\r\n", b"550 no\r\n", b"421 bye\r\n"])
# Correct servers, except for one reply.
nearly_right = st.tuples(
    st.lists(st.sampled_from([b"250 ok\r\n", b"250 ok\r\n", b"550 no\r\n"]), max_size=4),
    st.sampled_from([[], [b"354 go\r\n"]]),
    st.lists(plain | replies() | noise, max_size=8),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
friendly = [
    b"220 hi\r\n",
    b"250-hi\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n",
]
openings = st.sampled_from([[], friendly[:1], friendly, [*friendly, b"235 in\r\n"]])
endings = st.sampled_from([SMTPServerDisconnected, SMTPTimeoutError])


def introduction(session, *, tls, log_in):
    """Everything that is exchanged before the first message."""
    yield from greeting(session)
    yield from hello(session, "here")
    if tls:
        yield from starttls(session, "here")
    if log_in:
        yield from login(session, CREDENTIALS)


class Watched(Session):
    """Records whether the last content given to it was sent."""

    last = None

    def send_content(self, buffers, *gate):
        self.last = super().send_content(buffers, *gate)
        return self.last

    def send_last_chunk(self, size, buffers, *gate):
        self.last = super().send_last_chunk(size, buffers, *gate)
        return self.last


def messages(session, runner):
    """Send messages for as long as the session allows; return how many."""
    for number in range(4):
        if not session.is_reusable:
            return number
        try:
            delivery = runner.run(deliver(session, ENVELOPE, CONTENT))
        except SMTPException as error:
            check(session, error)
            event(f"{type(error).__name__} {error.outcome}")
        else:
            event("accepted")
            assert delivery.accepted
            assert delivery.reply.is_positive
            assert sorted([*delivery.accepted, *delivery.refused]) == sorted(ENVELOPE.forward_paths)
            assert session.was_sent(session.last)
    return 4


def check(session, error):
    """The outcome is one that the session's state allows."""
    named = [*error.accepted, *error.refused, *getattr(error, "unknown", ())]
    assert len(named) == len(set(named))
    assert set(named) <= set(ENVELOPE.forward_paths)
    if error.outcome is Outcome.UNKNOWN:
        assert isinstance(error, SMTPDeliveryUnknown)
        assert session.was_sent(session.last)
        assert set(named) == set(ENVELOPE.forward_paths)
        assert not session.is_reusable
    elif error.outcome is Outcome.REFUSED:
        assert error.reply.code >= 400
        assert not error.accepted
        if isinstance(error, SMTPRecipientsRefused):
            assert set(named) == set(ENVELOPE.forward_paths)
        if isinstance(error, SMTPSenderRefused):
            assert error.sender == "me@x"
    else:
        assert error.outcome is Outcome.NOT_SENT
        assert not error.accepted
        assert not session.is_reusable


OURS = (
    *(b"EHLO ", b"HELO ", b"LHLO ", b"STARTTLS", b"AUTH ", b"MAIL FROM:<me@x>", b"RCPT TO:<"),
    *(b"DATA", b"BDAT ", b"RSET", b"Subject: hi", b".", b"MAIL FROM:<evil@x>", b"*"),
)
ANSWER = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def assert_all_lines_are_ours(runner):
    for line in runner.lines:
        # What answers a challenge is base64.
        assert line.startswith(OURS) or set(line) <= ANSWER


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    opening=openings,
    server=servers,
    ending=endings,
    takes=st.none() | st.integers(0, 400),
    tls=st.booleans(),
    log_in=st.booleans(),
    lmtp=st.booleans(),
)
def test_opening_a_connection_ends_with_a_documented_result(
    opening, server, ending, takes, tls, log_in, lmtp
):
    session = Watched(is_lmtp=lmtp)
    runner = Runner(session, [*opening, *server], takes=takes, ending=lambda: ending("gone"))
    try:
        runner.run(introduction(session, tls=tls, log_in=log_in))
    except SMTPException as error:
        shown = str(error)
        event(type(error).__name__)
    else:
        shown = ""
        event(f"{messages(session, runner)} messages")
    assert len(shown.splitlines()) <= 1
    assert_all_lines_are_ours(runner)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    keywords=st.lists(st.sampled_from(["PIPELINING", "CHUNKING"]), unique=True),
    server=servers | nearly_right,
    ending=endings,
    takes=st.none() | st.integers(0, 800),
    lmtp=st.booleans(),
)
def test_messages_end_with_the_true_outcome(keywords, server, ending, takes, lmtp):
    session = introduced(Watched(is_lmtp=lmtp), *keywords)
    runner = Runner(session, server, takes=takes, ending=lambda: ending("gone"))
    assert messages(session, runner) > 0
    assert_all_lines_are_ours(runner)
