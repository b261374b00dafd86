"""Reports in Django: marked messages, the command ``mail_bounces``, and the signal ``bounced``."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_integration.bounces import bounced, handle_report, tokens
from mailbackends import ConfigurationError, Mailer
from mailbackends.bounces import BounceReport
from mailbackends.bounces.intake import serve_lmtp
from support.ports import free_port
from support.sink import Sink

Use = Callable[..., None]


def report(to: str) -> bytes:
    return (
        f"From: mailer-daemon@example.net\nTo: {to}\n"
        "Content-Type: multipart/report; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n\n"
        "Final-Recipient: rfc822; gone@example.net\nAction: failed\nStatus: 5.1.1\n\n--b--\n"
    ).encode()


@pytest.fixture
def seen() -> Iterator[list[BounceReport]]:
    found: list[BounceReport] = []

    def receive(sender: type, report: BounceReport, **more: Any) -> None:
        found.append(report)

    bounced.connect(receive)
    yield found
    bounced.disconnect(receive)


@pytest.fixture(autouse=True)
def address() -> Iterator[None]:
    with override_settings(MAILBACKENDS_BOUNCE_ADDRESS="bounces@example.com"):
        yield


def test_a_report_about_a_marked_message_has_its_reference(
    use_mail: Use, seen: list[BounceReport]
) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        message = EmailMessage("s", "t", "Shop <shop@example.com>", ["gone@example.net"])
        message.bounce_reference = "order_42"  # type: ignore[attr-defined]
        message.send()
        sender = sink.message.mail_from
        assert sink.message.message["From"] == "Shop <shop@example.com>"
    assert sender == tokens().envelope_sender("bounces@example.com", "order_42")
    handle_report(report(sender))
    assert [each.reference for each in seen] == ["order_42"]
    assert seen[0].failed == ("gone@example.net",)


def test_the_setting_that_is_missing_is_named(use_mail: Use) -> None:
    with Sink() as sink, override_settings(MAILBACKENDS_BOUNCE_ADDRESS=None):
        use_mail(host=sink.host, port=sink.port)
        message = EmailMessage("s", "t", "a@example.com", ["b@example.net"])
        message.bounce_reference = "1"  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="MAILBACKENDS_BOUNCE_ADDRESS"):
            message.send()


def test_the_command_reads_a_maildir(tmp_path: Path, seen: list[BounceReport]) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1").write_bytes(report("x@example.com"))
    (tmp_path / "new" / "2").write_bytes(b"From: ada@example.net\n\nThank you!\n")
    out = io.StringIO()
    call_command("mail_bounces", maildir=tmp_path, stdout=out)
    assert [json.loads(line)["kind"] for line in out.getvalue().splitlines()] == [
        "delivery_status", "none",
    ]  # fmt: skip
    assert len(seen) == 1
    assert list((tmp_path / "new").iterdir()) == []


def test_a_report_whose_receiver_failed_stays_new(tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1").write_bytes(report("x@example.com"))

    def fail(sender: type, **values: Any) -> None:
        raise OSError("the database is away")

    bounced.connect(fail)
    try:
        with pytest.raises(CommandError, match="messages that cannot be handled, and stay new: 1"):
            call_command("mail_bounces", maildir=tmp_path, stdout=io.StringIO())
    finally:
        bounced.disconnect(fail)
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("options", [{"lmtp": "2424"}, {"maildir": Path("nowhere")}])
def test_wrong_places_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match=r"HOST:PORT|not a Maildir"):
        call_command("mail_bounces", **options)


def test_reports_come_by_lmtp_and_are_refused_for_now_while_handling_fails() -> None:
    pytest.importorskip("aiosmtpd", reason="aiosmtpd is not installed here")
    taken: list[bytes] = []
    port = free_port()

    def handle(data: bytes) -> None:
        if not taken:
            taken.append(b"")
            raise OSError("away")
        taken.append(data)

    thread = threading.Thread(target=serve_lmtp, args=("127.0.0.1", port, handle), daemon=True)
    thread.start()
    with Mailer(f"lmtp://127.0.0.1:{port}") as mailer:
        deadline = time.monotonic() + 10
        while True:
            try:
                mailer.open()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with pytest.raises(Exception, match=r"451 4\.3\.0") as caught:
            mailer.send_message(report("x@example.com"), "", "bounces@example.com")
        assert caught.value.is_transient  # type: ignore[attr-defined]
        mailer.send_message(report("x@example.com"), "", "bounces@example.com")
    assert taken[1].replace(b"\r\n", b"\n") == report("x@example.com")
