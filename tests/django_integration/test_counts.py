"""What a message of a view costs: round trips, and function calls. Counts, never times."""

from __future__ import annotations

import ssl

from django.core.mail import EmailMessage

import django_integration
import mailbackends
from support.calls import calls_of
from support.certs import cafile
from support.sink import Sink


def message() -> EmailMessage:
    return EmailMessage("subject", "A line.\n" * 50, "a@example.com", ["b@example.com"])


def test_the_first_message_of_a_process_costs_9_round_trips_and_the_next_ones_1(use_mail) -> None:
    with Sink(tls="starttls", login=("user", "secret")) as sink:
        use_mail(
            host=sink.host,
            port=sink.port,
            username="user",
            password="secret",
            use_tls=True,
            ssl_cafile=cafile(),
        )
        for _ in range(3):
            message().send()
        seen = [flight.split()[0].decode() for flight in sink.flights[0]]
    # BDAT is used in a second flight first, because it is not known yet whether it works.
    first = ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "BDAT"]
    assert seen == [*first, "MAIL", "MAIL"]
    # TCP, the greeting and the handshake of TLS 1.3 (RFC 8446 section 2) cost one each besides.
    assert ssl.HAS_TLSv1_3
    assert len(first) + 3 == 9


def test_a_message_of_a_view_calls_few_functions(use_mail) -> None:
    with Sink() as sink:
        use_mail(host=sink.host, port=sink.port)
        message().send()
        message().send()
        seen = calls_of(lambda: message().send(), django_integration, mailbackends)
    assert seen <= 250
