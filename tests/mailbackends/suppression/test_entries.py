"""How addresses are compared, which entry stops a message, and what puts an address on the list."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from mailbackends import ConfigurationError, InvalidAddressError, Reply
from mailbackends.bounces import BouncedRecipient, BounceReport
from mailbackends.suppression import (
    BadRow,
    Exempt,
    Reason,
    Suppression,
    SuppressionPolicy,
    comparable,
    from_event,
    from_replies,
    from_report,
    new_entry,
    read_csv,
    recipient_reference,
)
from mailbackends.suppression.entries import chosen

NOW = datetime(2027, 1, 1, tzinfo=UTC)
ALL = SuppressionPolicy(refusals=True)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Ada@EXAMPLE.com", "ada@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("ada+news@example.com", "ada+news@example.com"),
        ("a.da@example.com", "a.da@example.com"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--BCHER-kva.example", "ada@xn--bcher-kva.example"),
        ("JOSE\u0301@example.com", "jos\xe9@example.com"),
        ("STRASSE@example.com", "strasse@example.com"),
        ('"Ada L"@example.com', '"ada l"@example.com'),
        ('"Ada"@example.com', "ada@example.com"),
        (r'"\a\d\a"@example.com', "ada@example.com"),
        ("ada@example.com.", "ada@example.com"),
        (f"ada@{'a' * 70}\xe9.example", f"ada@{'a' * 70}\xe9.example"),
    ],
)
def test_addresses_are_compared_in_one_form(written: str, stored: str) -> None:
    assert comparable(written) == stored
    assert comparable(stored) == stored


def test_a_domain_without_a_labels_is_not_stored() -> None:
    with pytest.raises(InvalidAddressError, match="domain"):
        new_entry(f"ada@{'a' * 70}\xe9.example")


def entry(reason: Reason, scope: str = "all", **fields: datetime) -> Suppression:
    return Suppression("ada@example.com", reason, scope, **fields)


@pytest.mark.parametrize(
    ("entries", "stream", "exempt", "stops"),
    [
        ([entry(Reason.UNSUBSCRIBED, "news")], "news", [], True),
        ([entry(Reason.UNSUBSCRIBED, "news")], "orders", [], False),
        ([entry(Reason.UNSUBSCRIBED, "news")], None, [], False),
        ([entry(Reason.UNSUBSCRIBED)], None, [], True),
        ([entry(Reason.UNSUBSCRIBED)], "reset", [], True),
        ([entry(Reason.UNSUBSCRIBED)], "reset", ["reset"], False),
        ([entry(Reason.COMPLAINT)], "reset", ["reset"], True),
        ([entry(Reason.HARD_BOUNCE)], "reset", ["reset"], True),
        ([entry(Reason.COMPLAINT)], "reset", {"reset": ["complaint"]}, False),
        ([entry(Reason.UNSUBSCRIBED)], "reset", {"reset": ["complaint"]}, True),
        # One who left this very stream does not get it, exempt or not.
        ([entry(Reason.UNSUBSCRIBED, "reset")], "reset", ["reset"], True),
        ([entry(Reason.UNSUBSCRIBED), entry(Reason.HARD_BOUNCE)], "reset", ["reset"], True),
        ([entry(Reason.MANUAL, expires_at=NOW - timedelta(1))], None, [], False),
        ([entry(Reason.MANUAL, expires_at=NOW + timedelta(1))], None, [], True),
        ([], "news", [], False),
    ],
)
def test_which_messages_an_entry_stops(
    entries: list[Suppression], stream: str | None, exempt: object, stops: bool
) -> None:
    found = chosen(entries, stream, Exempt(exempt), NOW)  # type: ignore[arg-type]
    assert (found is not None) is stops


def test_the_most_serious_entry_is_the_one_that_is_reported() -> None:
    both = [entry(Reason.SOFT_BOUNCE), entry(Reason.COMPLAINT)]
    assert chosen(both, None, Exempt(), NOW) is both[1]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("reset", r"must be a list of streams.*write \['reset'\]"),
        ({"reset": ["complain"]}, "'complain' is not a valid Reason: the reasons are"),
        ([""], "a stream must be a name of 1 to 50 characters"),
    ],
)
def test_an_exemption_that_is_not_usable_is_refused(given: object, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Exempt(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("ada",), InvalidAddressError, "'ada' is not an address that can be suppressed"),
        (("a@b.example, c@d.example",), InvalidAddressError, "is not one address"),
        (("ada@example.com\r\nBcc: x@y.example",), InvalidAddressError, "control character"),
        (("ada@example.com", "bounced"), ConfigurationError, "unknown reason 'bounced'"),
        (("ada@example.com", "manual", "x" * 51), ConfigurationError, "1 to 50 characters"),
        (("ada@example.com", "manual", "a\nb"), ConfigurationError, "1 to 50 characters"),
    ],
)
def test_a_new_entry_is_checked(
    arguments: tuple[str, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        new_entry(*arguments)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"use datetime\(\.\.\., tzinfo=UTC\)"):
        new_entry("ada@example.com", expires_at=datetime(2027, 1, 1))


@pytest.mark.parametrize(
    ("reply", "is_added"),
    [
        (Reply(550, (b"5.1.1 No such user",)), True),
        (Reply(550, (b"5.1.10 The domain takes no mail",)), True),
        (Reply(450, (b"4.1.1 Later",)), False),
        (Reply(550, (b"4.1.1 odd",)), False),
        (Reply(550, (b"5.1.8 Sender rejected",)), False),
        (Reply(550, (b"5.7.1 Spam",)), False),
        (Reply(550, (b"No such user",)), False),
    ],
)
def test_only_refusals_of_the_address_itself_count(reply: Reply, is_added: bool) -> None:
    refused = {"Ada@example.com": reply}
    assert bool(from_replies(refused, ALL)) is is_added
    assert from_replies(refused, SuppressionPolicy()) == []


def report(address: str, action: str = "failed", status: str | None = "5.1.1", **fields: str):
    recipient = BouncedRecipient(address, action, status)  # type: ignore[arg-type]
    return BounceReport("delivery_status", (recipient,), **fields)  # type: ignore[arg-type]


ADA = "ada@example.com"


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        ("failed", "5.1.1", Reason.HARD_BOUNCE),
        ("failed", "5.2.1", Reason.HARD_BOUNCE),
        ("failed", None, Reason.HARD_BOUNCE),
        ("failed", "5.2.2", Reason.SOFT_BOUNCE),
        ("failed", "4.4.1", Reason.SOFT_BOUNCE),
        ("failed", "5.7.1", Reason.SOFT_BOUNCE),
        ("failed", "5.0.0", Reason.SOFT_BOUNCE),
        ("complained", None, Reason.COMPLAINT),
        ("delayed", "4.4.1", None),
        ("delivered", "2.0.0", None),
    ],
)
def test_what_a_report_means(action: str, status: str | None, reason: Reason | None) -> None:
    reference = recipient_reference("ADA@example.com")
    found = from_report(report(ADA, action, status, reference=reference), SuppressionPolicy())
    assert [each.reason for each in found] == ([] if reason is None else [reason])
    none = SuppressionPolicy(hard_bounces=False, complaints=False, soft_bounces=None)
    assert from_report(report(ADA, action, status, reference=reference), none) == []


def test_a_report_that_is_not_about_a_message_of_ours_adds_nobody() -> None:
    assert from_report(report(ADA), ALL) == []
    # Ben got a message, and knows its mark: he can have himself suppressed, and nobody else.
    bens = recipient_reference("ben@example.com")
    assert from_report(report(ADA, reference=bens), ALL) == []
    assert len(from_report(report("ben@example.com", reference=bens), ALL)) == 1
    assert from_report(report(ADA, reference="order_42"), ALL) == []
    assert from_report(report(ADA, reference="order_42"), ALL, ["ben@example.com"]) == []
    assert len(from_report(report(ADA, reference="order_42"), ALL, ["Ada@example.com"])) == 1


@pytest.mark.parametrize(
    ("event", "why", "reason"),
    [
        ("bounced", "invalid", Reason.HARD_BOUNCE),
        ("bounced", "bounced", Reason.HARD_BOUNCE),
        ("bounced", None, Reason.HARD_BOUNCE),
        ("bounced", "timed_out", Reason.SOFT_BOUNCE),
        ("complained", None, Reason.COMPLAINT),
        ("unsubscribed", None, Reason.UNSUBSCRIBED),
        ("rejected", "unsubscribed", Reason.UNSUBSCRIBED),
        ("rejected", "blocked", None),
        ("deferred", "bounced", None),
        ("delivered", None, None),
        ("opened", None, None),
    ],
)
def test_what_a_providers_event_means(event: str, why: str | None, reason: Reason | None) -> None:
    found = from_event(event, ADA, SuppressionPolicy(), reject_reason=why, stream="news")
    assert (None if found is None else found.reason) is reason
    if found is not None:
        assert found.scope == ("news" if reason is Reason.UNSUBSCRIBED else "all")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"refusals": "yes"}, "refusals must be True or False, got 'yes'"),
        ({"soft_bounces": 0}, "soft_bounces must be None, or 1 or more, got 0"),
        ({"soft_bounce_days": -1}, "soft_bounce_days must be a number above 0, got -1"),
    ],
)
def test_a_policy_is_checked(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        SuppressionPolicy(**options)  # type: ignore[arg-type]


def test_an_open_quote_names_all_lines_that_were_not_read() -> None:
    rows = list(
        read_csv(io.StringIO('address\nada@example.com\n"ben@example.com\ncat@example.com\n'))
    )
    assert isinstance(rows[0], Suppression)
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3
    assert "nothing was read up to line 4" in rows[1].error
    assert len(rows) == 2
