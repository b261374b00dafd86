"""Messages that were sent, with receipt and connection, pickled and copied."""

from __future__ import annotations

import copy
import pickle
import ssl
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage, get_connection

from django_integration import EmailBackend, receipt_of
from django_integration.compat import backend_for
from mailbackends import Outcome, Secret, SMTPRecipientsRefused
from support.server import MailServer

Use = Callable[..., None]

# Django 6.1 warns of the attribute, which queues on top of Django use.
pytestmark = pytest.mark.filterwarnings("ignore:The EmailMessage.connection attribute")

COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301
]


def message(*to: str) -> EmailMessage:
    sent = EmailMessage("s", "b", to=list(to or ("a@example.com",)))
    sent.connection = backend_for()  # as django-mailer does it
    return sent


@pytest.mark.parametrize("copied", COPIES)
def test_a_sent_message_can_be_copied_and_sent_again(
    mail: MailServer, copied: Callable[[Any], Any]
) -> None:
    mail.refuse("b@example.com")
    sent = message("a@example.com", "b@example.com")
    sent.send()
    again = copied(sent)
    assert receipt_of(again) == receipt_of(sent)
    assert again.send() == 1
    assert len(mail.messages) == 2
    assert mail.connections == 1


@pytest.mark.parametrize("copied", COPIES)
def test_a_failed_message_can_be_copied(mail: MailServer, copied: Callable[[Any], Any]) -> None:
    mail.refuse("a@example.com")
    failed = message()
    with pytest.raises(SMTPRecipientsRefused):
        failed.send()
    again = copied(failed)
    assert again.send_error.outcome is Outcome.REFUSED
    assert again.send_error.recipients == failed.send_error.recipients  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_backend_is_closed_and_the_original_is_not(
    mail: MailServer, copied: Callable[[Any], Any]
) -> None:
    with backend_for() as backend:
        again = copied(backend)
        assert (again.connection, bool(backend.connection)) == (None, True)
        assert again.mailer_key == backend.mailer_key


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_backend_keeps_what_was_given_and_changed(
    use_mail: Use, copied: Callable[[Any], Any]
) -> None:
    use_mail(host="mail.example.com", use_tls=True, username="shop", password="word", pool_size=2)
    backend = backend_for()
    backend.host, backend.timeout = "other.example.com", 7
    again = copied(backend)
    assert again.options == backend.options
    assert (again.host, again.timeout, again.use_tls) == ("other.example.com", 7, True)


def test_credentials_given_for_one_call_survive_pickling(use_mail: Use) -> None:
    use_mail(host="mail.example.com", use_tls=True, pool_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=DeprecationWarning)
        warnings.simplefilter("ignore", category=PendingDeprecationWarning)
        backend = get_connection(username="tenant", password="theirs")
    again = pickle.loads(pickle.dumps(backend))  # noqa: S301
    assert again.options == backend.options
    assert again.options.username == "tenant"


def test_a_pickled_backend_has_no_password_of_the_settings_and_follows_them(use_mail: Use) -> None:
    use_mail(host="mail.example.com", use_tls=True, username="shop", password="hunter2")
    pickled = pickle.dumps(backend_for())
    assert b"hunter2" not in pickled
    use_mail(host="mail.example.com", use_tls=True, username="shop", password="changed")
    assert pickle.loads(pickled).options.password == Secret("changed")  # noqa: S301


def test_a_backend_with_a_tls_context_can_be_copied(use_mail: Use) -> None:
    context = ssl.create_default_context()
    use_mail(host="mail.example.com", use_tls=True, ssl_context=context)
    for copied in COPIES:
        assert copied(backend_for()).options.ssl_context is context


def test_a_subclass_can_be_copied(use_mail: Use) -> None:
    use_mail(host="mail.example.com", backend=f"{__name__}.Tagged")
    for copied in COPIES:
        assert copied(backend_for()).tag == "tag"


class Tagged(EmailBackend):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tag = "tag"
