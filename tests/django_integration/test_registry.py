"""The Mailers of a process: limited in number, closed after their last use, safe after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage

from django_integration.compat import backend_for
from django_integration.registry import MailerKey, Registry, registry
from mailbackends import Options
from support.server import MailServer

Use = Callable[..., None]


def route(server: MailServer, **more: Any) -> MailerKey:
    return MailerKey((Options(host=server.host, port=server.port, **more),))


def message() -> EmailMessage:
    return EmailMessage("s", "b", to=["a@example.com"])


def test_equal_keys_share_a_mailer(server: MailServer) -> None:
    with registry.mailer(route(server)) as one, registry.mailer(route(server)) as two:
        assert one is two


def test_the_least_recently_used_mailer_is_closed(server: MailServer) -> None:
    pools = Registry(limit=lambda: 2)
    tenants = [route(server, local_hostname=f"tenant{number}.example") for number in range(4)]
    for tenant in tenants:
        with pools.mailer(tenant) as mailer:
            mailer.open()
        with pools.mailer(tenants[0]):  # used again and again, so it stays
            pass
    server.wait(lambda: server.open_connections == 2)
    assert list(pools.stats()) == [tenants[3], tenants[0]]
    pools.close()
    server.wait(lambda: server.open_connections == 0)


def test_a_mailer_in_use_is_closed_after_its_last_use(server: MailServer) -> None:
    pools = Registry(limit=lambda: 1)
    with pools.mailer(route(server)) as mailer:
        with pools.mailer(route(server, local_hostname="other.example")):
            pass
        # Pushed out meanwhile, and still good for what it was taken for.
        assert mailer.send_message(b"Subject: s\r\n\r\nb\r\n", "a@x.example", "b@x.example")
    server.wait(lambda: server.open_connections == 0)
    pools.close()


def test_the_limit_of_mailers_is_a_setting(
    use_mail: Use, use_settings: Use, server: MailServer
) -> None:
    use_settings(MAILBACKENDS_MAX_POOLS=2)
    use_mail(host=server.host, port=server.port)
    for number in range(5):
        backend = backend_for()
        backend.timeout = 20 + number
        backend.send_messages([message()])
    assert len(registry.stats()) == 2
    server.wait(lambda: server.open_connections == 2)


def test_many_threads_and_many_tenants_lose_no_message(
    use_mail: Use, use_settings: Use, server: MailServer
) -> None:
    """Mailers are dropped all the time while other threads are sending over them."""
    use_settings(MAILBACKENDS_MAX_POOLS=2)
    use_mail(host=server.host, port=server.port)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(6):
                backend = backend_for()
                backend.timeout = 20 + (number + turn) % 5
                backend.send_messages([message()])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(server.messages) == 36


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection_and_does_not_touch_its_parents(
    mail: MailServer,
) -> None:
    assert message().send() == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if message().send() == message().send() == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert message().send() == 1

    assert mail.connections == 2
    assert [received.connection for received in mail.messages] == [0, 1, 1, 0]
    assert not any("QUIT" in line for line in mail.commands[0])
