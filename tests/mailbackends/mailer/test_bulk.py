"""The Mailer warns of bulk mail that large providers refuse, once for each reason."""

from __future__ import annotations

import pytest

from mailbackends import ConfigurationError, Mailer, Submission, unsubscribe_fields
from mailbackends.mailer import bulk
from support.dkim import key_for
from support.sink import Sink


@pytest.fixture(autouse=True)
def nothing_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_warned", set())


LINK = "List-Unsubscribe: <https://x.test/>\r\n"
POST = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


@pytest.mark.parametrize(
    ("fields", "signs", "words"),
    [
        ("", False, None),
        ("Subject: list-id: precedence: bulk\r\n", False, None),
        ("Precedence: first-class\r\n", False, None),
        ("Precedence: bulk\r\n", True, "without one-click"),
        ("List-Id: <news.example.com>\r\n", True, "without one-click"),
        (LINK, True, "without one-click"),
        (LINK + POST, False, "without a DKIM signature"),
        (LINK + POST, True, None),
        (LINK + POST + "DKIM-Signature: v=1\r\n", False, None),
    ],
)
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_warning_is_logged_once(
    fields: str, signs: bool, words: str | None, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    content = f"From: a@example.com\r\n{fields}\r\n".encode() + b"x" * size + b"\r\n"
    dkim = key_for() if signs else None
    with Sink() as sink, Mailer(sink.url, dkim=dkim) as mailer:
        for _ in range(2):
            mailer.send_message(content, "a@example.com", "b@example.net")
    found = [each.message for each in caplog.records if "bulk mail" in each.message]
    assert len(found) == (0 if words is None else 1)
    assert words is None or words in found[0]


def test_the_fields_for_other_mail() -> None:
    assert unsubscribe_fields("https://example.com/u/abc?x=1") == {
        "List-Unsubscribe": "<https://example.com/u/abc?x=1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@pytest.mark.parametrize("url", ["http://a.test/", "https://a.test/\r\nX: y", "https://a/>,<b", ""])
def test_a_url_that_is_unsafe_in_the_field_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        unsubscribe_fields(url)


class Listed:
    """A suppression list with an exempt stream."""

    exempt = ("password_reset",)

    def suppressed(self, addresses: object, stream: str | None) -> dict[str, object]:
        return {}


@pytest.mark.parametrize(
    ("fields", "stream", "words"),
    [
        ("", "newsletter", "of the stream 'newsletter' is sent without one-click"),
        ("", "password_reset", None),
        (LINK + POST, "newsletter", "without a DKIM signature"),
        ("Precedence: list\r\n", "newsletter", "without one-click"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"batch_pipeline": 4}], ids=str)
def test_mail_of_a_stream_is_bulk_mail_unless_the_stream_is_exempt(
    fields: str,
    stream: str,
    words: str | None,
    options: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = f"From: a@example.com\r\n{fields}\r\nx\r\n".encode()
    given = Submission(content, "a@example.com", ["b@example.net"], stream=stream)
    with Sink() as sink, Mailer(sink.url, suppression=Listed(), **options) as mailer:
        mailer.send_messages([given] * 3)
    found = [each.message for each in caplog.records if "bulk mail" in each.message]
    assert len(found) == (0 if words is None else 1)
    assert words is None or words in found[0]
