"""Several servers: mail that the first does not accept for now is sent to the next one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection
from django.core.management import CommandError, call_command

from django_integration import receipt_of
from django_integration.compat import backend_for
from support.server import MailServer

Use = Callable[..., None]


def send() -> EmailMessage:
    message = EmailMessage("s", "b", to=["a@example.com"])
    assert message.send() == 1
    return message


@pytest.mark.parametrize("form", ["a list", "one text"])
def test_a_message_that_the_first_server_refuses_for_now_goes_to_the_next(
    use_mail: Use, form: str
) -> None:
    with MailServer() as first, MailServer() as second:
        urls = [first.url, second.url]
        use_mail(url=urls if form == "a list" else " ".join(urls))
        send()
        first.refuse_content("451 4.3.0 Disk full")
        send()
        assert len(first.messages) == len(second.messages) == 1
        assert (first.connections, second.connections) == (1, 1)


def test_round_robin_uses_both_servers_in_turn(use_mail: Use) -> None:
    with MailServer() as first, MailServer() as second:
        use_mail(url=[first.url, second.url], strategy="round_robin")
        for _ in range(4):
            send()
        assert len(first.messages) == len(second.messages) == 2


def test_options_beside_the_urls_apply_to_all_servers(use_mail: Use) -> None:
    with (
        MailServer(tls="starttls", login=("u", "p"), require_login=True) as first,
        MailServer(tls="tls", login=("u", "p"), require_login=True) as second,
    ):
        use_mail(
            url=[
                f"smtp+starttls://{first.host}:{first.port}",
                f"smtps://{second.host}:{second.port}",
            ],
            username="u",
            password="p",
            ssl_cafile=first.cafile,
            pool_size=7,
        )
        servers = backend_for().mailer_key.servers
        assert [(each.security, each.pool_size) for each in servers] == [
            ("starttls", 7),
            ("tls", 7),
        ]
        first.answer("EHLO", "421 Closing", times=None)
        assert receipt_of(send()) is not None
        assert second.message.user == "u"


def test_a_login_in_the_first_url_is_not_sent_to_other_servers(use_mail: Use) -> None:
    use_mail(url=["smtps://u:p@one.example.com", "smtps://two.example.com"])
    one, two = backend_for().mailer_key.servers
    assert (one.username, two.username, two.password) == ("u", None, None)


def test_tls_files_are_not_used_for_a_fallback_without_tls(use_mail: Use) -> None:
    use_mail(
        url=["smtps://one.example.com", "smtp://localhost", "smtps://two.example.com"],
        ssl_cafile="ca.pem",
    )
    servers = backend_for().mailer_key.servers
    assert [each.ssl_cafile for each in servers] == ["ca.pem", None, "ca.pem"]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("given", [{"host": "tenant.example.com"}, {"username": "tenant"}])
def test_mail_with_a_server_for_one_call_never_uses_the_settings_fallbacks(
    use_mail: Use, given: dict[str, str]
) -> None:
    """Django 6.1 warns about this function, which still works."""
    use_mail(url=["smtps://one.example.com", "smtps://two.example.com"])
    assert len(get_connection(**given).mailer_key.servers) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": []}, "['url'] must be a URL or a list of URLs"),
        ({"url": 7}, "['url'] must be a URL or a list of URLs"),
        ({"url": ["smtp://a.example.com", "smpt://b.example.com"]}, "did you mean 'smtp'"),
        ({"url": "smtp://a.example.com", "strategy": "random"}, "'ordered' or 'round_robin'"),
    ],
)
def test_unusable_urls_are_refused_by_name(
    use_mail: Use, options: dict[str, Any], words: str
) -> None:
    use_mail(**options)
    with pytest.raises(ImproperlyConfigured) as caught:
        backend_for()
    assert words in str(caught.value)


def test_the_doctor_checks_each_server(use_mail: Use) -> None:
    with MailServer() as first, MailServer() as second:
        use_mail(url=[first.url, second.url])
        out = io.StringIO()
        call_command("mail_doctor", stdout=out, no_color=True)
        for server in (first, second):
            assert f"{server.host}:{server.port}, no TLS" in out.getvalue()
        second.answer("EHLO", "421 Closing", times=None)
        second.answer("HELO", "421 Closing", times=None)
        with pytest.raises(CommandError, match="EHLO failed"):
            call_command("mail_doctor", stdout=out, no_color=True)
