"""The SMTP server: what it keeps, and what it does wrong on demand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends import (
    Mailer,
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPTimeoutError,
)
from mailbackends.mailbox import Fault, Mailbox
from support.mailbox import mail


@pytest.fixture
def box() -> Iterator[Mailbox]:
    box = Mailbox()
    box.listen()
    yield box
    box.close()


@pytest.fixture
def mailer(box: Mailbox) -> Iterator[Mailer]:
    with Mailer(host="127.0.0.1", port=box.listen().port, timeout=20) as mailer:
        yield mailer


def test_a_message_is_stored_with_its_envelope(box: Mailbox, mailer: Mailer) -> None:
    sent = mail(html=None)  # one part: no boundary, which each writing makes anew
    receipt = mailer.send_message(sent, to_addrs=["ada@example.com", "bcc@example.com"])
    (line,) = box.store.find()
    kept = box.store.get(line.id)
    assert kept is not None
    assert kept.arrival.sender == "shop@leafandcup.example"
    assert kept.arrival.accepted == receipt.accepted == ("ada@example.com", "bcc@example.com")
    assert kept.arrival.reply == str(receipt.reply)
    assert kept.arrival.outcome == "accepted"
    assert kept.content == sent.as_bytes()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_any_login_is_accepted_and_its_user_name_shown(box: Mailbox, mechanism: str) -> None:
    port = box.listen().port
    with Mailer(
        host="127.0.0.1", port=port, username="shop", password="x", auth_mechanisms=(mechanism,)
    ) as mailer:
        mailer.send_message(mail())
    kept = box.store.get(box.store.find()[0].id)
    assert kept is not None
    assert kept.arrival.user == "shop"


def test_listen_starts_one_server(box: Mailbox) -> None:
    assert box.listen() is box.listen()


def test_the_fault_refuse_refuses_a_recipient(box: Mailbox, mailer: Mailer) -> None:
    box.faults.add(Fault("refuse", "*@EXAMPLE.net", "450 4.2.1 Try later"))
    receipt = mailer.send_message(mail(), to_addrs=["ada@example.com", "eve@example.net"])
    assert receipt.refused["eve@example.net"].code == 450
    kept = box.store.get(box.store.find()[0].id)
    assert kept is not None
    assert kept.arrival.refused == {"eve@example.net": "450 4.2.1 Try later"}
    with pytest.raises(SMTPRecipientsRefused):
        mailer.send_message(mail(), to_addrs=["eve@example.net"])
    assert box.store.count() == 1


def test_the_fault_reject_refuses_as_many_messages_as_given(box: Mailbox, mailer: Mailer) -> None:
    box.faults.add(Fault("reject", times=1))
    with pytest.raises(SMTPDataError) as caught:
        mailer.send_message(mail())
    assert caught.value.outcome is Outcome.REFUSED
    mailer.send_message(mail())
    assert [line.outcome for line in box.store.find()] == ["accepted", "refused"]
    (fault,) = box.faults.all()
    assert (fault.count, fault.times, fault.is_spent) == (1, 0, True)


def test_the_fault_drop_closes_the_connection(box: Mailbox, mailer: Mailer) -> None:
    box.faults.add(Fault("drop", "ada@*", times=1))
    with pytest.raises(SMTPDeliveryUnknown) as caught:
        mailer.send_message(mail())
    assert caught.value.outcome is Outcome.UNKNOWN
    assert [line.outcome for line in box.store.find()] == ["unknown"]
    mailer.send_message(mail())
    assert box.store.count() == 2


def test_the_fault_delay_delays_the_reply(box: Mailbox) -> None:
    box.faults.add(Fault("delay", seconds=60, times=1))
    port = box.listen().port
    with Mailer(host="127.0.0.1", port=port, content_timeout=0.2) as impatient:
        with pytest.raises((SMTPTimeoutError, SMTPDeliveryUnknown)):
            impatient.send_message(mail())
        impatient.send_message(mail())
    assert box.faults.all()[0].count == 1


def test_a_connection_that_speaks_http_is_closed(box: Mailbox) -> None:
    with socket.create_connection(("127.0.0.1", box.listen().port), timeout=20) as browser:
        browser.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n"
            b"RCPT TO:<c@d>\r\nDATA\r\nSubject: Evil\r\n\r\n.\r\n"
        )
        with suppress(ConnectionError):
            while browser.recv(4096):
                pass
    assert box.store.count() == 0


def test_close_ends_all_connections(mailer: Mailer, box: Mailbox) -> None:
    mailer.open()
    box.close()
    assert box.server is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "kind"),
        ({"kind": "explode"}, "explode"),
        ({"kind": "refuse", "reply": "250 Ok"}, "reply"),
        ({"kind": "refuse", "reply": "550 a\r\n250 b"}, "reply"),
        ({"kind": "delay"}, "seconds must be"),
        ({"kind": "delay", "seconds": "nan"}, "seconds must be"),
        ({"kind": "delay", "seconds": 1e9}, "seconds must be"),
        ({"kind": "delay", "seconds": "soon"}, "numbers"),
        ({"kind": "drop", "times": 0}, "times"),
        ({"kind": "drop", "times": -1}, "times"),
        ({"kind": "drop", "recipient": ["a"]}, "recipient"),
        ({"kind": ["drop"]}, "kind"),
        ({"kind": "drop", "when": "now"}, "when"),
    ],
)
def test_an_invalid_fault_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault.from_dict(values)
