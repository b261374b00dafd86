"""A Mailer and aiosmtpd, an independent implementation."""

from __future__ import annotations

import threading

import pytest

from mailbackends import Mailer
from support.server import MailServer


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_ten_messages_to_aiosmtpd_need_one_connection(message, tls) -> None:
    with MailServer(tls=tls, login=("user", "secret"), require_login=True) as server:
        with Mailer(server.url) as mailer:
            for number in range(10):
                mailer.send_message(message(subject=str(number), text=".\n..dot\nlast"))
            assert mailer.stats().pool.made == 1
        assert server.connections == 1
        assert [m.message["Subject"] for m in server.messages] == [str(n) for n in range(10)]
        assert server.messages[0].content.endswith(b"\r\n.\r\n..dot\r\nlast\r\n")


def test_the_threads_share_no_more_connections_than_there_may_be(message) -> None:
    with MailServer() as server, Mailer(server.url, pool_size=3) as mailer:
        threads = [
            threading.Thread(target=lambda: [mailer.send_message(message()) for _ in range(5)])
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(server.messages) == 50
        assert server.connections <= 3
