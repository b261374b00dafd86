"""One-click unsubscribe in Django: the fields, the page, and what forged requests achieve."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import checks, mail, signing
from django.core.mail import EmailMessage
from django.test import Client, override_settings
from django.urls import include, path

from django_integration import RawEmailMessage
from django_integration.unsubscribe import (
    InvalidToken,
    Subscription,
    read_token,
    unsubscribe_url,
    unsubscribed,
)
from mailbackends import ConfigurationError, InvalidMessageError
from support.dkim import key_for, records, verify
from support.sink import Sink

URL = "https://www.example.com/unsubscribe/"
Use = Callable[..., None]


@pytest.fixture(autouse=True)
def settings_for_links() -> Iterator[None]:
    urls = types.ModuleType("unsubscribe_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("unsubscribe/", include("django_integration.unsubscribe.urls"))
    ]
    with override_settings(
        MAILBACKENDS_UNSUBSCRIBE_URL=URL, ROOT_URLCONF=urls, ALLOWED_HOSTS=["www.example.com"]
    ):
        yield


@pytest.fixture
def seen() -> Iterator[list[tuple[str, str]]]:
    """What the receivers of ``unsubscribed`` got."""
    found: list[tuple[str, str]] = []

    def receive(sender: type, address: str, stream: str, **more: Any) -> None:
        assert sender is Subscription
        found.append((address, stream))

    unsubscribed.connect(receive)
    yield found
    unsubscribed.disconnect(receive)


def link(address: str = "ada@example.net", stream: str = "newsletter") -> str:
    return urlsplit(unsubscribe_url(address, stream)).path


def client() -> Client:
    # As a mail program: no cookies, no CSRF token, and the checks are on.
    return Client(enforce_csrf_checks=True, headers={"host": "www.example.com"})


def post(place: str) -> Any:
    return client().post(
        place, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded"
    )


def test_a_message_has_both_fields_and_dkim_covers_them(use_mail: Use) -> None:
    key = key_for()
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port, dkim=key)
        message = EmailMessage("News", "Hello", "shop@example.com", ["Ada <ada@example.net>"])
        message.unsubscribe = "newsletter"  # type: ignore[attr-defined]
        message.send()
        received = sink.message
    parsed = received.message
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = parsed["List-Unsubscribe"].strip().removeprefix(f"<{URL}").removesuffix("/>")
    assert read_token(token) == Subscription("ada@example.net", "newsletter")
    names = received.content.partition(b"h=")[2].partition(b";")[0]
    assert b"list-unsubscribe:" in names
    assert b"list-unsubscribe-post" in names
    assert verify(received.content, records(key)) == [True]


def test_the_fields_replace_those_that_were_there(use_mail: Use) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        message = EmailMessage(
            "s", "t", "a@example.com", ["b@example.net"], headers={"list-unsubscribe": "<x>"}
        )
        message.unsubscribe = "newsletter"  # type: ignore[attr-defined]
        message.send()
        message.to = ["c@example.net"]
        message.send()
        found = [each.message.get_all("List-Unsubscribe") or [] for each in sink.messages]
    assert [len(fields) for fields in found] == [1, 1]
    assert found[0] != found[1]


@pytest.mark.parametrize("to", [["a@example.net", "b@example.net"], []])
def test_several_recipients_cannot_share_a_link(use_mail: Use, to: list[str]) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        message = EmailMessage("s", "t", "a@example.com", to, bcc=["c@example.net"] * 2)
        message.unsubscribe = "newsletter"  # type: ignore[attr-defined]
        with pytest.raises(InvalidMessageError, match="exactly one recipient"):
            message.send()
        assert sink.connections == 0


def test_a_raw_message_is_not_changed(use_mail: Use) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        raw = RawEmailMessage(b"From: a@example.com\r\n\r\n", "a@example.com", ["b@example.net"])
        raw.unsubscribe = "newsletter"  # type: ignore[attr-defined]
        with pytest.raises(InvalidMessageError, match="sent as it is"):
            raw.send()


@pytest.mark.parametrize("url", ["http://www.example.com/u/", "https://a b/", "https://x/>", ""])
def test_a_link_needs_https(url: str) -> None:
    with (
        override_settings(MAILBACKENDS_UNSUBSCRIBE_URL=url),
        pytest.raises(ConfigurationError, match="MAILBACKENDS_UNSUBSCRIBE_URL"),
    ):
        unsubscribe_url("a@example.net", "newsletter")


@pytest.mark.parametrize("stream", ["", "x" * 51, 5, True])
def test_a_stream_has_a_short_name(stream: Any) -> None:
    with pytest.raises(ConfigurationError, match="a stream must be a name"):
        unsubscribe_url("a@example.net", stream)


def test_getting_the_page_changes_nothing(seen: list[tuple[str, str]]) -> None:
    for method in (client().get, client().head):
        response = method(link("<b>@example.net"))
        assert response.status_code == 200
        assert response.cookies == {}
        assert response["Referrer-Policy"] == "no-referrer"
        assert "no-store" in response["Cache-Control"]
    page = client().get(link("<b>@example.net")).content.decode()
    assert "&lt;b&gt;@example.net" in page
    assert '<form method="post">' in page
    assert seen == []


def test_one_post_unsubscribes_and_the_next_ones_do_no_harm(seen: list[tuple[str, str]]) -> None:
    for _ in range(3):
        response = post(link())
        assert response.status_code == 200
        assert response.cookies == {}
        assert b"You are unsubscribed" in response.content
    assert seen == [("ada@example.net", "newsletter")] * 3


def test_the_page_works_without_the_last_slash_too(seen: list[tuple[str, str]]) -> None:
    assert post(link().rstrip("/")).status_code == 200
    assert len(seen) == 1


def forged() -> list[str]:
    token = link().strip("/").rpartition("/")[2]
    return [
        token[:-1],
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "x" + token[1:],
        signing.dumps(["a@example.net", "newsletter"], salt="another").replace(":", "~"),
        signing.dumps("text", salt="django_integration.unsubscribe").replace(":", "~"),
        "x" * 5000,
        "~",
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_forged_link_changes_nothing(number: int, seen: list[tuple[str, str]]) -> None:
    place = f"/unsubscribe/{forged()[number]}/"
    for response in (client().get(place), post(place)):
        assert response.status_code == 400
        assert b"not valid" in response.content
    assert seen == []


def test_an_expired_link_changes_nothing(seen: list[tuple[str, str]]) -> None:
    with override_settings(MAILBACKENDS_UNSUBSCRIBE_MAX_AGE=-1):
        assert post(link()).status_code == 400
        with pytest.raises(InvalidToken):
            read_token(link().strip("/").rpartition("/")[2])
    assert seen == []


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_are_not_allowed(method: str, seen: list[tuple[str, str]]) -> None:
    assert getattr(client(), method)(link()).status_code == 405
    assert seen == []


def test_a_receiver_that_fails_fails_the_request_after_the_others_were_called(
    seen: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: type, **values: Any) -> None:
        raise OSError("the database is away")

    unsubscribed.connect(fail)
    try:
        with caplog.at_level(logging.CRITICAL), pytest.raises(OSError, match="away"):
            post(link())
    finally:
        unsubscribed.disconnect(fail)
    assert len(seen) == 1


def test_without_a_receiver_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    if unsubscribed.receivers:
        pytest.skip("an app of the tests listens")
    post(link())
    assert "no receiver of unsubscribed" in caplog.text


def ids() -> set[str]:
    found = checks.run_checks(tags=["mail"], include_deployment_checks=True)
    return {each.id for each in found if each.id}


def test_checks_find_a_link_without_https_and_one_without_dkim(use_mail: Use) -> None:
    use_mail(host="mail.example.com", use_tls=True)
    assert "mailbackends.W012" in ids()
    assert "mailbackends.E004" not in ids()
    use_mail(host="mail.example.com", use_tls=True, dkim=key_for())
    assert "mailbackends.W012" not in ids()
    with override_settings(MAILBACKENDS_UNSUBSCRIBE_URL="http://x.test/"):
        assert "mailbackends.E004" in ids()


def test_mail_without_the_attribute_is_as_before(use_mail: Use) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        mail.send_mail("s", "t", "a@example.com", ["b@example.net", "c@example.net"])
        assert b"List-Unsubscribe" not in sink.message.content
