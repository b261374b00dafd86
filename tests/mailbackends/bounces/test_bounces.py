"""Reports of failed delivery and complaints are read; whatever else comes, nothing breaks."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends import ConfigurationError
from mailbackends.bounces import BounceReport, BounceTokens, parse_bounce
from mailbackends.bounces.intake import from_maildir

KEY = "a key for the tests, of some length"

REPORT = b"""\
Return-Path: <>
Delivered-To: %(to)s
From: Mail Delivery System <MAILER-DAEMON@mail.example.com>
To: %(to)s
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I could not deliver your message.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com
Original-Envelope-Id: QQ314159
Arrival-Date: Sat, 28 Nov 2026 06:00:00 +0000

Final-Recipient: rfc822; Gone@Example.NET
Original-Recipient: rfc822;list@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.net
Diagnostic-Code: smtp; 550 5.1.1 <gone@example.net>: no
    such user

Final-Recipient: rfc822; full@example.net
Action: delayed
Status: 4.2.2 (mailbox full)

--b
Content-Type: message/rfc822

From: shop@example.com
To: list@example.net
Message-ID: <1@example.com>
Subject: Your order

Hello
--b--
"""

COMPLAINT = b"""\
From: <abusedesk@example.net>
To: <abuse@example.com>
Subject: FW: Earn money
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

This is an email abuse report.

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <shop@example.com>
%(recipient)sReporting-MTA: dns; mail.example.net

--b
Content-Type: text/rfc822-headers

From: <shop@example.com>
To: <ada@example.net>
Message-ID: <2@example.com>
--b--
"""


def report(to: str = "shop@example.com") -> bytes:
    return REPORT % {b"to": to.encode()}


def test_a_delivery_status_notification_is_read() -> None:
    found = parse_bounce(report())
    assert found.kind == "delivery_status"
    assert found.message_id == "<1@example.com>"
    assert found.envelope_id == "QQ314159"
    assert found.reporting_mta == "mail.example.com"
    gone, full = found.recipients
    assert gone.address == "list@example.net"
    assert (gone.action, gone.status, gone.remote_mta) == ("failed", "5.1.1", "mx.example.net")
    assert gone.diagnostic == "550 5.1.1 <gone@example.net>: no such user"
    assert gone.is_permanent
    assert gone.is_bad_address
    assert (full.address, full.action, full.status) == ("full@example.net", "delayed", "4.2.2")
    assert not full.is_permanent
    assert found.failed == ("list@example.net",)
    assert json.loads(json.dumps(found.as_dict()))["recipients"][0]["status"] == "5.1.1"


def test_crlf_line_ends_and_base64_do_not_matter() -> None:
    assert parse_bounce(report().replace(b"\n", b"\r\n")) == parse_bounce(report())
    import base64

    head, _, rest = report().partition(b"Content-Type: message/delivery-status\n\n")
    block, _, tail = rest.partition(b"\n--b\nContent-Type: message/rfc822")
    encoded = (
        head
        + b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(block)
        + b"\n--b\nContent-Type: message/rfc822"
        + tail
    )
    assert [each.address for each in parse_bounce(encoded).recipients] == [
        each.address for each in parse_bounce(report()).recipients
    ]


def test_an_international_address_is_decoded() -> None:
    data = report().replace(b"rfc822;list@example.net", rb"utf-8;gr\x{FC}\x{DF}e@example.net")
    assert parse_bounce(data).recipients[0].address == "grüße@example.net"


@pytest.mark.parametrize("named", [True, False])
def test_a_complaint_is_read_also_where_its_recipient_was_removed(named: bool) -> None:
    field = b"Original-Rcpt-To: <ada@example.net>\n" if named else b""
    found = parse_bounce(COMPLAINT % {b"recipient": field})
    assert (found.kind, found.feedback_type) == ("complaint", "abuse")
    (ada,) = found.recipients
    assert (ada.address, ada.action) == ("ada@example.net", "complained")
    assert found.message_id == "<2@example.com>"
    assert found.failed == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\xff",
        b"From: ada@example.net\nSubject: Re: Your order\n\nThank you!\n",
        b"Content-Type: multipart/report; boundary=b\n\n--b\n\n--b--\n",
        b"Content-Type: multipart/report\n\nno boundary\n",
        b"Content-Type: message/delivery-status\n\n",
        b'Content-Type: text/plain; charset="\xff"\nTo: =?x-none?q?a?=\n\nx\n',
    ],
)
def test_other_mail_is_no_report(data: bytes) -> None:
    assert parse_bounce(data, BounceTokens(KEY)) == BounceReport("none")


@pytest.mark.parametrize(
    "address",
    [
        b"a b@example.net", b"<script>@example.net", b"a@", b"@example.net", b"x" * 400 + b"@y.t",
        b"a@example.net, b@example.net", b"a;b@example.net",
    ],
)  # fmt: skip
def test_what_is_not_one_address_is_no_recipient(address: bytes) -> None:
    data = report().replace(b"list@example.net\n", address + b"\n", 1)
    found = [each.address for each in parse_bounce(data).recipients]
    assert all(" " not in each and "<" not in each and "," not in each for each in found)
    assert len(found) <= 2


def test_a_diagnostic_is_one_printable_line_of_limited_length() -> None:
    data = report().replace(b"no\n    such user", b"\x1b[31m" + b"x" * 5000)
    diagnostic = parse_bounce(data).recipients[0].diagnostic
    assert diagnostic is not None
    assert diagnostic.isprintable()
    assert len(diagnostic) <= 1000


def nested(depth: int, filler: bytes) -> bytes:
    parts = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number)
        for number in range(depth)
    )
    return b"".join(parts) + filler


@pytest.mark.parametrize(
    "data",
    [
        nested(20, b"a\n" * 1_000_000),
        nested(3000, report()),
        b"Content-Type: message/delivery-status\n\n"
        + b"Final-Recipient: rfc822;a@b.c\n\n" * 50_000,
        b"Content-Type: message/rfc822\n\n" * 3000,
        b"To: " + b"<" * 1_000_000 + b"\n\nx",
        b"X: =?utf-8?q?" + b"a" * 1_000_000 + b"?=\n\nx",
        b"From: mailer-daemon\nSubject: failure\n\n" + b"<a@b.c>\n" * 100_000,
    ],
)
def test_hostile_messages_cost_little(data: bytes) -> None:
    started = time.process_time()
    found = parse_bounce(data, BounceTokens(KEY))
    assert len(found.recipients) <= 1000
    # Not a measurement: without the limits these take minutes.
    assert time.process_time() - started < 20


@given(st.binary(max_size=300), st.integers(0, 1400), st.integers(0, 60))
def test_a_damaged_report_never_raises(noise: bytes, place: int, removed: int) -> None:
    data = report()
    parse_bounce(data[:place] + noise + data[place + removed :], BounceTokens(KEY))


# --- Tokens ---------------------------------------------------------------------------------


def test_a_report_to_a_marked_address_names_what_was_marked() -> None:
    tokens = BounceTokens(KEY)
    address = tokens.envelope_sender("bounces@example.com", "order_42")
    assert address.startswith("bounces+order_42-")
    assert parse_bounce(report(address), tokens).reference == "order_42"
    assert parse_bounce(report(address.lower()), tokens).reference == "order_42"


def test_the_envelope_id_may_be_the_mark() -> None:
    tokens = BounceTokens(KEY)
    data = report().replace(b"QQ314159", tokens.token("7").encode())
    assert parse_bounce(data, tokens).reference == "7"


@pytest.mark.parametrize("change", ["reference", "signature", "key"])
def test_a_forged_mark_is_not_taken(change: str) -> None:
    tokens = BounceTokens(KEY)
    address = tokens.envelope_sender("bounces@example.com", "order_42")
    if change == "reference":
        address = address.replace("order_42", "order_43")
    elif change == "signature":
        address = address.replace("@", "A@")[:-13] + "@example.com"
        address = address[:20] + ("B" if address[20] != "B" else "C") + address[21:]
    else:
        tokens = BounceTokens(KEY + "x")
    assert parse_bounce(report(address), tokens).reference is None


@pytest.mark.parametrize(
    ("address", "reference", "words"),
    [
        ("bounces@example.com", "a-b", "letters, digits and underscores"),
        ("bounces@example.com", "x" * 37, "1 to 36"),
        ("bounces@example.com", "", "1 to 36"),
        ("bounces@example.com", "a\r\nb", "letters, digits"),
        ("example.com", "a", "is not an address"),
        ("b" * 30 + "@example.com", "x" * 30, "more than 64 characters"),
    ],
)
def test_a_mark_that_does_not_fit_is_refused(address: str, reference: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        BounceTokens(KEY).envelope_sender(address, reference)


def test_a_short_key_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="at least 16 characters") as caught:
        BounceTokens("hunter2")
    assert "hunter2" not in str(caught.value)
    assert KEY not in repr(vars(BounceTokens(KEY)))


# --- Intake, and the corpus -------------------------------------------------------------------


def test_a_message_of_a_maildir_is_seen_once_it_was_handled(tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    for number in range(3):
        (tmp_path / "new" / f"{number}.host").write_bytes(b"x%d" % number)
    taken: list[bytes] = []

    def handle(data: bytes) -> None:
        if data == b"x1" and not taken.count(b"x2"):
            raise OSError("the database is away")
        taken.append(data)

    assert from_maildir(tmp_path, handle) == 1  # and the one after it was read all the same
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["1.host"]
    assert taken == [b"x0", b"x2"]
    assert from_maildir(tmp_path, handle) == 0
    assert from_maildir(tmp_path, handle) == 0
    assert taken == [b"x0", b"x2", b"x1"]
    assert len(list((tmp_path / "cur").iterdir())) == 3


def test_another_folder_is_no_maildir(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a Maildir"):
        from_maildir(tmp_path, lambda data: None)


@pytest.mark.parametrize("letter", ["=E2=84=AA", "=C5=BF"])
def test_letters_that_are_alike_without_case_are_in_no_token(letter: str) -> None:
    """The Kelvin sign and the long s match k and s where case is ignored."""
    tokens = BounceTokens(KEY)
    for mark in (f"x-AAAAAAAAAAAAAAA{letter}", f"{letter}-AAAAAAAAAAAAAAAA"):
        data = report().replace(b"To: ", b"To: =?utf-8?q?" + mark.encode() + b"?= ", 1)
        assert parse_bounce(data, tokens).reference is None
    assert tokens.reference_in(tokens.token("k1").replace("k", "\u212a")) is None
    assert tokens.reference_in(tokens.token("k1").upper()) == "k1"
    with pytest.raises(ConfigurationError, match="lower-case"):
        tokens.token("Kb3")


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: message/delivery-status\n" + b"\n" * 20_000,
        b"Content-Type: multipart/digest; boundary=b\n\n" + b"--b\n" * 10_000,
    ],
)
def test_a_message_of_thousands_of_blocks_is_not_read(content: bytes) -> None:
    assert parse_bounce(content).kind == "none"
    assert parse_bounce(content.replace(b"\n", b"\r\n")).kind == "none"


def test_an_address_with_control_characters_is_not_one() -> None:
    address = b"utf-8; a\\x{0}\\x{1b}\\x{202e}b@example.com"
    data = re.sub(rb"Final-Recipient: [^\r\n]*", lambda _: b"Final-Recipient: " + address, report())
    assert all("\x00" not in str(one) for one in parse_bounce(data).as_dict().values())
    assert not any("\x1b" in str(one) or "\x00" in str(one) for one in parse_bounce(data).failed)


def test_the_corpus_of_flufl_bounce_is_recognised() -> None:
    """MAILBACKENDS_TESTS_BOUNCES names the folder tests/data of its source distribution."""
    folder = os.environ.get("MAILBACKENDS_TESTS_BOUNCES")
    if not folder:
        pytest.skip("MAILBACKENDS_TESTS_BOUNCES is not set")
    from email import message_from_bytes

    flufl = pytest.importorskip("flufl.bounce", reason="flufl.bounce is not installed here")
    known = found = 0
    for path in sorted(Path(folder).glob("*.txt")):
        temporary, permanent = flufl.all_failures(message_from_bytes(path.read_bytes()))
        expected = {each.decode("utf-8", "replace").lower() for each in temporary | permanent}
        if expected:
            known += 1
            ours = {each.address.lower() for each in parse_bounce(path.read_bytes()).recipients}
            found += ours >= expected
    assert known > 100
    assert found / known >= 0.95
