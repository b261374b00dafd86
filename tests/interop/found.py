"""What real servers showed to be wrong with the library, and the test that now holds it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FOUND", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """One fault, mended. ``test`` fails without the mend."""

    at: str
    what: str
    test: str


FOUND = (
    Found(
        "Dovecot LMTP",
        "552 to BDAT is a full mailbox there, and ended a connection that was of use",
        "tests/mailbackends/protocol/test_transcripts.py::test_the_conversation_goes_as_it_was_written_down",
    ),
    Found(
        "Postfix, Dovecot",
        "the 421 of a server that was stopped, or had waited too long, was taken for its limit "
        "of messages, and connections were renewed too often from then on",
        "tests/mailbackends/mailer/test_limits.py::"
        "test_a_421_that_tells_of_something_else_teaches_nothing",
    ),
    Found(
        "Postfix",
        "`SMTP.starttls` and `SMTP_SSL` said of an expired certificate to trust another authority",
        "tests/interop/test_tls.py::test_a_bad_certificate_is_told_of_with_what_to_do",
    ),
    Found(
        "Postfix",
        "a handshake without a common cipher ended in an error that said nothing to do",
        "tests/interop/test_tls.py::test_a_handshake_that_fails_is_told_of_with_what_to_do",
    ),
    Found(
        "a server that says 220 to STARTTLS and goes on in clear",
        "the error said to use STARTTLS",
        "tests/interop/test_tls.py::"
        "test_a_220_to_starttls_with_no_tls_behind_it_is_told_of_and_nothing_goes_in_clear",
    ),
)
