"""Faults of the library that real servers showed, and the tests that now cover them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FOUND", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """One fault. ``test`` fails without its fix."""

    at: str
    what: str
    test: str


FOUND = (
    Found(
        "Dovecot LMTP",
        "552 to BDAT means a full mailbox there, and closed a connection that could be used again",
        "tests/mailbackends/protocol/test_transcripts.py::test_a_recorded_conversation_is_repeated",
    ),
    Found(
        "Postfix, Dovecot",
        "the 421 of a server that was stopped, or that closed an idle connection, was taken for a "
        "limit of messages, and connections were renewed too often from then on",
        "tests/mailbackends/mailer/test_limits.py::test_a_421_with_another_reason_sets_no_limit",
    ),
    Found(
        "Postfix",
        "for an expired certificate, `SMTP.starttls` and `SMTP_SSL` suggested to trust another CA",
        "tests/interop/test_tls.py::test_a_bad_certificate_is_reported_with_a_fix",
    ),
    Found(
        "Postfix",
        "the error for a handshake without a common cipher suggested no fix",
        "tests/interop/test_tls.py::test_a_failed_handshake_is_reported_with_a_fix",
    ),
    Found(
        "a server that answers STARTTLS with 220 and continues in clear text",
        "the error suggested to use STARTTLS",
        "tests/interop/test_tls.py::"
        "test_a_220_to_starttls_without_tls_is_reported_and_nothing_is_sent_in_clear",
    ),
)
