"""Messages whose bytes are finished: signed by somebody, or received and passed on."""

from __future__ import annotations

import email
from collections.abc import Callable
from email import policy
from typing import Any

import django
import pytest
from django.core import mail as django_mail
from django.core.mail import EmailMessage

from django_integration import RawEmailMessage, receipt_of
from django_integration.compat import backend_for
from support.server import MailServer

Use = Callable[..., None]

# Nothing here is as the email package would write it.
SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=one;\r\n"
    b"\tb=AAAA\r\n\t BBBB\r\n"
    b"from:Shop   <shop@example.com>\r\n"
    b"TO: ada@example.com,bob@example.com\r\n"
    b"Subject: =?ISO-8859-1?Q?Gr=FC=DFe?=\r\n"
    b"MIME-version:  1.0\r\n"
    b"Content-type: text/plain; charset=us-ascii\r\n"
    b"\r\n"
    b"Trailing blanks  \r\n"
    b".dot\r\n"
    b"\r\n\r\n"
)


@pytest.mark.parametrize("fast_paths", [True, False])
def test_a_raw_message_arrives_byte_for_byte(
    use_mail: Use, server: MailServer, fast_paths: bool
) -> None:
    use_mail(host=server.host, port=server.port, fast_paths=fast_paths)
    message = RawEmailMessage(SIGNED, "bounces@example.com", ["ada@example.com"])
    assert message.send() == 1
    received = server.message
    assert received.content == SIGNED
    assert (received.mail_from, received.rcpt_tos) == ("bounces@example.com", ("ada@example.com",))
    receipt = receipt_of(message)
    assert receipt is not None
    assert receipt.accepted == ("ada@example.com",)


def test_a_batch_can_mix_raw_and_other_messages(mail: MailServer) -> None:
    raw = RawEmailMessage(SIGNED, "bounces@example.com", ["ada@example.com"])
    assert backend_for().send_messages([EmailMessage("s", "b", to=["b@example.com"]), raw]) == 2
    assert mail.messages[1].content == SIGNED


def test_staging_adds_one_field_above_a_raw_message(use_mail: Use, server: MailServer) -> None:
    """A field above a signature does not break it."""
    use_mail(host=server.host, port=server.port, redirect_all_to="tester@example.com")
    RawEmailMessage(SIGNED, "shop@example.com", ["ada@example.com"]).send()
    assert server.message.rcpt_tos == ("tester@example.com",)
    assert server.message.content == b"X-Original-Recipients: ada@example.com\r\n" + SIGNED


def test_the_outbox_of_tests_has_a_raw_message_parsed(use_mail: Use) -> None:
    use_mail(backend="django.core.mail.backends.locmem.EmailBackend")
    django_mail.outbox = []
    RawEmailMessage(SIGNED, "shop@example.com", ["ada@example.com"]).send()
    [sent] = django_mail.outbox
    assert (sent.subject, sent.to) == ("Grüße", ["ada@example.com"])
    assert sent.message()["Subject"] == "Grüße"


@pytest.mark.parametrize("content", ["text", None, email.message_from_bytes(SIGNED)])
def test_the_content_of_a_raw_message_must_be_bytes(content: Any) -> None:
    with pytest.raises(TypeError, match=r"must be bytes, got .*as_bytes\(\)"):
        RawEmailMessage(content, "shop@example.com", ["ada@example.com"])


# A parsed message does not know how many blanks there were after a colon.
PARSABLE = SIGNED.replace(b"from:Shop", b"from: Shop").replace(b"sion:  1", b"sion: 1")


class Parsed(EmailMessage):
    """As signing libraries for Django do it."""

    parsed_by: Any = policy.default

    def message(self, *args: Any, **kwargs: Any) -> Any:
        return email.message_from_bytes(PARSABLE, policy=self.parsed_by)


@pytest.mark.parametrize("parsed_by", [policy.default, policy.SMTP, policy.compat32])
def test_a_subclass_that_returns_a_parsed_message_sends_it_byte_for_byte(
    mail: MailServer, parsed_by: Any
) -> None:
    message = Parsed("ignored", to=["ada@example.com"])
    message.parsed_by = parsed_by
    assert message.send() == 1
    assert mail.message.content == PARSABLE


@pytest.mark.skipif(django.VERSION < (6, 0), reason="message() has no policy below Django 6.0")
def test_message_of_a_raw_message_takes_a_policy() -> None:
    message = RawEmailMessage(SIGNED, "shop@example.com", ["ada@example.com"])
    assert message.message(policy=policy.SMTP).policy is policy.SMTP
