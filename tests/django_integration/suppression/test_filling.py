"""What adds addresses by itself, and what hostile input does not add or remove."""

from __future__ import annotations

import io
import re
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import checks
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.test import Client
from django.urls import include, path

from django_integration.bounces import handle_report, tokens
from django_integration.suppression import suppression_list
from django_integration.suppression.checks import check_deployment, check_settings
from django_integration.unsubscribe import unsubscribe_url
from mailbackends.suppression import Reason, new_entry, recipient_reference
from support.sink import Sink

Use = Callable[..., None]

ADA, BEN = "ada@example.net", "ben@example.net"

URLS: Any = types.ModuleType("suppression_urls")
URLS.urlpatterns = [path("unsubscribe/", include("django_integration.unsubscribe.urls"))]


@pytest.fixture(autouse=True)
def with_links(use_settings: Use) -> None:
    use_settings(
        MAILBACKENDS_UNSUBSCRIBE_URL="https://www.example.com/unsubscribe/",
        MAILBACKENDS_BOUNCE_ADDRESS="bounces@example.com",
        ROOT_URLCONF=URLS,
    )


@pytest.fixture
def sink(use_mail: Use) -> Iterator[Sink]:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        yield sink


def entries(address: str) -> list[tuple[str, Reason]]:
    return [(each.scope, each.reason) for each in suppression_list().check(address)]


def report(
    to: str, address: str, status: str = "5.1.1", action: str = "failed", about: str = ""
) -> bytes:
    return (
        f"From: mailer-daemon@example.net\nTo: {to}\n"
        "Content-Type: multipart/report; boundary=b\n\n--b\n"
        f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n{about}\n"
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\n\n--b--\n"
    ).encode()


def complaint(to: str, address: str) -> bytes:
    return (
        f"From: feedback@example.net\nTo: {to}\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n"
        "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\n"
        f"User-Agent: x\nOriginal-Rcpt-To: {address}\n\n--b--\n"
    ).encode()


def test_who_unsubscribes_is_on_the_list_for_that_stream() -> None:
    link = urlsplit(unsubscribe_url(ADA, "newsletter")).path
    assert Client().get(link).status_code == 200
    assert entries(ADA) == []
    for _ in range(2):
        assert Client(enforce_csrf_checks=True).post(link).status_code == 200
    assert entries(ADA) == [("newsletter", Reason.UNSUBSCRIBED)]


def test_a_forged_or_expired_token_adds_and_removes_nothing(use_settings: Use) -> None:
    suppression_list().add([new_entry(BEN)])
    link = urlsplit(unsubscribe_url(ADA, "newsletter")).path
    for forged in (link[:-3] + "AA/", "/unsubscribe/WyJhZGFAZXhhbXBsZS5uZXQiLCAiYWxsIl0~x~y/"):
        assert Client().post(forged).status_code == 400
    use_settings(MAILBACKENDS_UNSUBSCRIBE_MAX_AGE=-1)
    assert Client().post(link).status_code == 400
    assert (entries(ADA), entries(BEN)) == ([], [("all", Reason.MANUAL)])


def test_a_report_about_a_message_of_ours_adds_its_recipient(sink: Sink) -> None:
    EmailMessage("s", "t", "shop@example.com", [ADA]).send()
    sender = sink.message.mail_from
    assert sender == tokens().envelope_sender("bounces@example.com", recipient_reference(ADA))
    handle_report(report(sender, ADA.upper()))
    assert entries(ADA) == [("all", Reason.HARD_BOUNCE)]
    made: Any = EmailMessage("s", "t", "shop@example.com", [ADA])
    assert made.send() == 0


def test_a_message_to_several_and_one_with_its_own_reference_are_not_marked(sink: Sink) -> None:
    EmailMessage("s", "t", "shop@example.com", [ADA, BEN]).send()
    own: Any = EmailMessage("s", "t", "shop@example.com", [ADA])
    own.bounce_reference = "order_42"
    own.send()
    first, second = (each.mail_from for each in sink.messages)
    assert first == "shop@example.com"
    assert second.startswith("bounces+order_42-")


@pytest.mark.parametrize(
    "hostile",
    [
        report("bounces@example.com", ADA),
        report("bounces+r" + "a" * 24 + "-" + "A" * 16 + "@example.com", ADA),
        b"\0" * 300_000,
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n\n" * 20_000,
        b"Content-Type: message/delivery-status; charset=\xff\xfe\n\nFinal-Recipient: \xff\n",
        b"Content-Type: multipart/mixed; boundary=a\n\n"
        + b"".join(b"--a\nContent-Type: multipart/mixed; boundary=a\n\n" for _ in range(2000)),
    ],
    ids=["unmarked", "forged", "zeros", "parts", "charset", "depth"],
)
def test_a_hostile_report_adds_and_removes_nothing(hostile: bytes) -> None:
    suppression_list().add([new_entry(BEN)])
    handle_report(hostile)
    assert (entries(ADA), entries(BEN)) == ([], [("all", Reason.MANUAL)])


def test_who_got_a_message_cannot_have_others_suppressed() -> None:
    bens = tokens().envelope_sender("bounces@example.com", recipient_reference(BEN))
    handle_report(report(bens, ADA))
    handle_report(complaint(bens, ADA))
    assert entries(ADA) == []
    handle_report(complaint(bens, BEN))
    assert entries(BEN) == [("all", Reason.COMPLAINT)]


def test_soft_bounces_add_after_as_many_as_the_policy_says(use_settings: Use) -> None:
    use_settings(MAILBACKENDS_SUPPRESSION={"soft_bounces": 3})
    to = tokens().envelope_sender("bounces@example.com", recipient_reference(ADA))
    for count in range(1, 4):
        assert entries(ADA) == [], count
        handle_report(report(to, ADA, "4.2.2"))
    assert entries(ADA) == [("all", Reason.SOFT_BOUNCE)]
    # Removing it starts the count anew.
    suppression_list().remove(ADA)
    handle_report(report(to, ADA, "4.2.2"))
    assert entries(ADA) == []


@pytest.mark.parametrize("refusals", [True, False])
def test_refusals_add_only_if_the_policy_says_so(
    sink: Sink, use_settings: Use, refusals: bool
) -> None:
    use_settings(MAILBACKENDS_SUPPRESSION={"refusals": refusals})
    sink.refuse(ADA, "550 5.1.1 No such user")
    sink.refuse(BEN, "550 5.7.1 Go away")
    with pytest.raises(OSError, match=r"5\.1\.1"):
        EmailMessage("s", "t", "shop@example.com", [ADA]).send()
    EmailMessage("s", "t", "shop@example.com", [ADA, BEN, "cat@example.net"]).send()
    assert entries(ADA) == ([("all", Reason.REFUSED)] if refusals else [])
    assert entries(BEN) == []


def test_the_command_reads_reports(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    EmailMessage("s", "t", "shop@example.com", [ADA]).send()
    data = io.BytesIO(report(sink.message.mail_from, ADA))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    out = io.StringIO()
    call_command("mail_bounces", stdout=out)
    assert '"action": "failed"' in out.getvalue()
    assert entries(ADA) == [("all", Reason.HARD_BOUNCE)]


@pytest.mark.parametrize(
    ("event_type", "reason", "more", "added"),
    [
        ("bounced", "bounced", {}, [("all", Reason.HARD_BOUNCE)]),
        ("complained", "spam", {}, [("all", Reason.COMPLAINT)]),
        ("unsubscribed", None, {}, [("all", Reason.UNSUBSCRIBED)]),
        (
            "unsubscribed",
            None,
            {"metadata": {"stream": "newsletter"}},
            [("newsletter", Reason.UNSUBSCRIBED)],
        ),
        ("deferred", "bounced", {}, []),
        ("delivered", None, {}, []),
        ("opened", None, {}, []),
    ],
)
def test_events_of_django_anymail(
    event_type: str, reason: str | None, more: dict[str, Any], added: list[Any]
) -> None:
    signals = pytest.importorskip("anymail.signals")
    event = signals.AnymailTrackingEvent(
        event_type=event_type, recipient=ADA, reject_reason=reason, description="x", **more
    )
    results = signals.tracking.send(sender=object, event=event, esp_name="SomeESP")
    assert len(results) == 1
    assert entries(ADA) == added
    if added:
        assert suppression_list().check(ADA)[0].source == "SomeESP (anymail)"


def test_an_event_without_an_address_is_no_error() -> None:
    signals = pytest.importorskip("anymail.signals")
    event = signals.AnymailTrackingEvent(event_type="bounced", recipient="nobody")
    signals.tracking.send(sender=object, event=event, esp_name="SomeESP")
    assert suppression_list().count() == 0


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"exemt": []}, "unknown name 'exemt': did you mean 'exempt'"),
        ({"exempt": "reset"}, r"write \['reset'\]"),
        ({"soft_bounces": 0}, "must be None, or 1 or more"),
        ({"database": "other"}, "must be an alias in DATABASES, got 'other'"),
        (["exempt"], "must be a dictionary, got list"),
    ],
)
def test_check_finds_a_setting_that_is_not_usable(
    use_settings: Use, setting: Any, text: str
) -> None:
    use_settings(MAILBACKENDS_SUPPRESSION=setting)
    [found] = check_settings(None)
    assert found.id == "mailbackends.E006"
    assert found.level == checks.ERROR
    assert re.search(text, found.msg)


def test_check_deploy_warns_if_nobody_can_unsubscribe(use_settings: Use) -> None:
    assert check_deployment(None) == []
    use_settings(MAILBACKENDS_UNSUBSCRIBE_URL=None)
    [found] = check_deployment(None)
    assert found.id == "mailbackends.W015"
