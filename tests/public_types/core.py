# pyright: strict
"""Every public name of the core, used as an application uses it.

This file is not run. mypy and pyright check it in their strict modes: each ``assert_type`` is
what an application's type checker finds there.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any, assert_type

from mailbackends import (
    DKIM,
    LMTP,
    SMTP,
    SMTP_SSL,
    AsyncMailer,
    BeforeEndError,
    ConfigurationError,
    DeliveryOptions,
    Email,
    FileAttachment,
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    MailerStats,
    Options,
    Outcome,
    PoolClosed,
    PoolTimeout,
    RateLimited,
    Receipt,
    RecipientsSuppressed,
    Reply,
    Secret,
    SigningError,
    SMTPAuthenticationError,
    SMTPCertificateError,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
    SMTPTLSError,
    Step,
    Submission,
    TokenError,
    TransientError,
    delivery_options,
    diagnose,
    feedback_id,
    unsubscribe_fields,
)
from mailbackends.bounces import BouncedRecipient, BounceReport, BounceTokens, parse_bounce
from mailbackends.oauth import AccessToken, TokenProvider, google, microsoft, refresh_token
from mailbackends.otel import OpenTelemetry, instrument, uninstrument
from mailbackends.suppression import Suppression


def options() -> Options:
    key = DKIM(domain="example.com", selector="s1", key_file="/etc/dkim/s1.pem")
    password = Secret("secret")
    assert_type(password.reveal(), str)
    made = Options(host="smtp.example.com", port=587, password=password, dkim=(key,))
    assert_type(made.host, str)
    assert_type(made.port, int | None)
    assert_type(Options.from_url("smtps://smtp.example.com"), Options)
    return made


def message() -> Email:
    return Email(
        subject="Your order",
        sender=("Shop", "shop@example.com"),
        to=["ada@example.com"],
        text="It is on its way.",
        attachments=[FileAttachment("invoice.pdf"), ("note.txt", "Thank you.")],
        headers={
            **unsubscribe_fields("https://example.com/leave/1"),
            "Feedback-ID": feedback_id("shop-news", "spring"),
        },
    )


def send() -> None:
    asked: DeliveryOptions = delivery_options(notify="failure", deliver_within=timedelta(hours=1))
    with Mailer(options(), min_idle=1) as mailer:
        assert_type(mailer.warm_up(), int)
        receipt = mailer.send_message(message(), **asked)
        assert_type(receipt, Receipt)
        assert_type(receipt.accepted, tuple[str, ...])
        assert_type(receipt.outcome, Outcome)
        assert_type(receipt.outcomes, dict[str, Outcome])
        assert_type(receipt.reply, Reply)
        assert_type(receipt.reply.code, int)
        assert_type(receipt.as_dict(), dict[str, Any])
        for address, reply in receipt.refused.items():
            assert_type(address, str)
            assert_type(reply.is_transient, bool)
        own = EmailMessage()
        mailer.send_message(own, "shop@example.com", ["ada@example.com"])
        batch: list[Submission | Email] = [Submission(message(), reference=17), message()]
        assert_type(mailer.send_messages(batch), list[Receipt | Exception])
        assert_type(mailer.stream_messages(batch), Iterator[Receipt | Exception])
        with mailer.hold() as connection:
            assert_type(connection.send_message(message()), Receipt)
        assert_type(mailer.stats(), MailerStats)


async def send_in_a_loop() -> None:
    async with AsyncMailer("smtps://smtp.example.com") as mailer:
        assert_type(await mailer.send_message(message()), Receipt)
        assert_type(await mailer.send_messages([message()]), list[Receipt | Exception])
        outcomes = mailer.stream_messages([message()])
        assert_type(outcomes, AsyncGenerator[Receipt | Exception, None])
        async with mailer.hold() as connection:
            assert_type(await connection.send_message(message()), Receipt)


def errors() -> str:
    try:
        send()
    except (SMTPSenderRefused, SMTPDataError, SMTPAuthenticationError) as error:
        assert_type(error.smtp_code, int)
        return error.reply.text
    except SMTPRecipientsRefused as error:
        assert_type(error.refused, dict[str, Reply])
    except SMTPDeliveryUnknown:
        return "may have been delivered"
    except SMTPTimeoutError:
        return "no reply in time"
    except (SMTPConnectionError, SMTPServerDisconnected):
        return "no connection"
    except (SMTPCertificateError, SMTPTLSError):
        return "no TLS"
    except (PoolTimeout, PoolClosed, RateLimited, TokenError, SigningError, BeforeEndError):
        return "not sent"
    except (SMTPNotSupportedError, SMTPProtocolError):
        return "the server cannot do that"
    except (InvalidAddressError, InvalidMessageError, ConfigurationError) as error:
        invalid: ValueError = error
        return str(invalid)
    except SMTPException as error:
        assert_type(error.outcome, Outcome | None)
        assert_type(error.reply, Reply | None)
        assert_type(error.is_transient, bool)
        assert_type(error.as_dict(), dict[str, Any])
    return ""


def as_smtplib() -> None:
    with SMTP("smtp.example.com", 587, timeout=10) as client:
        client.starttls(context=ssl.create_default_context())
        client.login("shop", "secret")
        refused = client.sendmail("shop@example.com", ["ada@example.com"], "Subject: Hi\n\nHi.\n")
        assert_type(refused, dict[str, tuple[int, bytes]])
    with SMTP_SSL("smtp.example.com") as client, LMTP("localhost", 2424) as local:
        client.noop()
        local.noop()


def doctor() -> bool:
    steps = diagnose(options())
    assert_type(steps, Iterator[Step])
    return all(step.is_ok for step in steps)


def tokens() -> list[TokenProvider]:
    def own() -> AccessToken:
        return AccessToken(Secret("token"), 3600.0)

    return [
        microsoft("tenant", "client", secret="secret"),
        google("/etc/google.json", "shop@example.com"),
        refresh_token("https://example.com/token", "client", "secret", "refresh"),
        TokenProvider(own, identity="shop"),
    ]


def left_out(error: RecipientsSuppressed) -> list[str]:
    assert_type(error.suppressed, dict[str, Suppression])
    return [entry.scope for entry in error.suppressed.values()]


def bounces(raw: bytes) -> list[BouncedRecipient]:
    marked = BounceTokens("key of at least sixteen characters")
    report = parse_bounce(raw, marked)
    assert_type(report, BounceReport)
    assert_type(report.reference, str | None)
    return [each for each in report.recipients if each.is_bad_address]


def observe() -> OpenTelemetry:
    instrument()
    uninstrument()
    return OpenTelemetry()


def task() -> None:
    with TransientError.translate():
        send()
