"""All interfaces of the library behind one: `SMTP`, both Mailers, Django and Flask.

Tests use a `Client` and nothing else of the library: a new interface needs one subclass and its
entry in `interop.cell.CLIENTS` to play all scenarios.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from interop import counts
from interop.mails import Mail
from mailbackends import (
    LMTP,
    SMTP,
    SMTP_SSL,
    AsyncMailer,
    Mailer,
    Receipt,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
    Submission,
)

__all__ = ["Access", "AsyncMailerClient", "Client", "MailerClient", "Sent", "SmtpClient"]

TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Access:
    """A server, and how to reach it."""

    port: int = 0
    path: str | None = None
    protocol: str = "smtp"
    security: str = "none"
    cafile: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    mechanism: str | None = None
    timeout: float = TIMEOUT
    batch_pipeline: int = 1

    def options(self) -> dict[str, Any]:
        """The same as options of `mailbackends.Options`."""
        options: dict[str, Any] = {
            "host": "127.0.0.1",
            "protocol": self.protocol,
            "security": self.security,
            "local_hostname": "client.test",
            "timeout": self.timeout,
            "content_timeout": TIMEOUT,
            "max_messages_per_connection": 1000,
            "max_idle": 3600.0,
            "batch_pipeline": self.batch_pipeline,
        }
        if self.path is None:
            options["port"] = self.port
        else:
            options["socket_path"] = self.path
        if self.security != "none" and self.cafile is not None:
            options["ssl_cafile"] = self.cafile
        if self.username is not None:
            options["username"] = self.username
            if self.token is not None:
                options["token_provider"] = Token(self.token)
            else:
                options["password"] = self.password
        if self.mechanism is not None:
            options["auth_mechanisms"] = (self.mechanism,)
        return options


@dataclass(frozen=True, slots=True)
class Token:
    """A token provider that is equal to another with the same token."""

    value: str = field(repr=False)

    def __call__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Sent:
    """What the library reported: the codes of the refused recipients, and any error."""

    refused: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def outcome(self) -> str:
        """The outcome by its name in the library."""
        if self.error is None:
            return "accepted"
        return str(getattr(self.error, "outcome", None) or type(self.error).__name__)

    @property
    def may_be_sent_again(self) -> bool:
        """True if the caller may send again without a risk of a second copy."""
        return self.outcome == "not_sent" or (
            self.outcome == "refused" and getattr(self.error, "is_transient", False)
        )


class Client(ABC):
    """Sends mails to one server, and reuses its connections."""

    name: str
    makes_crlf = True
    """False if a lone CR or LF is sent as it is."""
    reconnects = True
    """False if the caller has to reconnect after the server closed the connection."""

    pipelines = True
    """False if each command waits for the reply to the one before."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def send(self, mail: Mail) -> Sent:
        """Send one, and return what was reported, refusals and errors included."""
        return _counted(self._sent(mail))

    def _sent(self, mail: Mail) -> Sent:
        try:
            return Sent(self._send(mail))
        except (SMTPException, ValueError) as error:
            return _failed(error)

    def send_all(self, mails: Iterable[Mail]) -> list[Sent]:
        """Send one after the other."""
        return [self.send(mail) for mail in mails]

    def send_batch(self, mails: Iterable[Mail]) -> list[Sent]:
        """Send all at once, with `Access.batch_pipeline` where the client has batches."""
        return self.send_all(mails)

    @abstractmethod
    def _send(self, mail: Mail) -> dict[str, int]:
        """Return the refused recipients with their codes; raise what the library raises."""

    @abstractmethod
    def content_of(self, mail: Mail) -> bytes:
        """The bytes that must arrive, with any line ends, and any boundary between parts."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _failed(error: Exception) -> Sent:
    if isinstance(error, SMTPRecipientsRefused):
        return Sent({who: code for who, (code, _) in error.recipients.items()}, error)
    refused = getattr(error, "refused", None) or {}
    return Sent({who: reply.code for who, reply in refused.items()}, error)


def _counted(sent: Sent) -> Sent:
    # Before a message is sent, smtplib's interface has no outcome.
    is_known = sent.outcome in ("accepted", "refused", "unknown")
    counts.messages[sent.outcome if is_known else "not_sent"] += 1
    return sent


class SmtpClient(Client):
    """`mailbackends.SMTP`, `SMTP_SSL` and `LMTP`, used as smtplib is."""

    name = "SMTP"
    reconnects = False
    pipelines = False
    makes_crlf = False

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._smtp: SMTP | None = None

    def _send(self, mail: Mail) -> dict[str, int]:
        if self._smtp is None or self._smtp.sock is None:
            self._smtp = self._connected()
        options = ["SMTPUTF8"] if mail.needs_utf8 else []
        if mail.is_8bit:
            options.append("BODY=8BITMIME")
        try:
            refused = self._smtp.sendmail(mail.sender, mail.recipients, mail.raw, options)
        except SMTPServerDisconnected:
            self.close()
            raise
        return {who: code for who, (code, _) in refused.items()}

    def repeat(self, command: str, *, times: int) -> list[int]:
        """Send a command over and over, and return the codes until the connection is closed."""
        assert self._smtp is not None
        codes = []
        for _ in range(times):
            try:
                codes.append(self._smtp.docmd(command)[0])
            except SMTPServerDisconnected:
                break
        return codes

    def _connected(self) -> SMTP:
        access = self.access
        tls = self._context() if access.security != "none" else None
        smtp: SMTP
        if access.protocol == "lmtp":
            smtp = LMTP(access.path or "127.0.0.1", access.port, "client.test", timeout=TIMEOUT)
        elif access.security == "tls":
            smtp = SMTP_SSL("127.0.0.1", access.port, "client.test", timeout=TIMEOUT, context=tls)
        else:
            smtp = SMTP("127.0.0.1", access.port, "client.test", timeout=TIMEOUT)
        try:
            if access.security == "starttls":
                smtp.starttls(context=tls)
            if access.username is not None:
                self._login(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.access.cafile)

    def _login(self, smtp: SMTP) -> None:
        access = self.access
        smtp.ehlo_or_helo_if_needed()
        if access.mechanism is not None and access.mechanism not in smtp.esmtp_features.get(
            "auth", ""
        ):
            smtp.esmtp_features["auth"] = "NONE"
        elif access.mechanism is not None:
            # There is no argument for it: applications that want one mechanism do this.
            smtp.esmtp_features["auth"] = access.mechanism
        secret = access.password or "" if access.token is None else Token(access.token)
        smtp.login(access.username or "", secret)

    def content_of(self, mail: Mail) -> bytes:
        return mail.raw

    def close(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None and smtp.sock is not None:
            try:
                smtp.quit()
            except SMTPException:
                smtp.close()


class MailerClient(Client):
    """`mailbackends.Mailer`, given bytes."""

    name = "Mailer"

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._mailer: Any = self._new_mailer(access.options())

    def _new_mailer(self, options: dict[str, Any]) -> Any:
        return Mailer(**options)

    def _result(self, returned: Any) -> Any:
        """The result of a call of the mailer."""
        return returned

    def _send(self, mail: Mail) -> dict[str, int]:
        receipt = self._mailer.send_message(
            mail.raw, mail.sender, mail.recipients, self._mail_options(mail)
        )
        return _codes(self._result(receipt))

    def send_batch(self, mails: Iterable[Mail]) -> list[Sent]:
        results = self._mailer.send_messages(
            Submission(one.raw, one.sender, one.recipients, self._mail_options(one))
            for one in mails
        )
        return [
            _counted(Sent(_codes(one)) if isinstance(one, Receipt) else _failed(one))
            for one in self._result(results)
        ]

    @staticmethod
    def _mail_options(mail: Mail) -> list[str]:
        return ["BODY=8BITMIME"] if mail.is_8bit and mail.needs_utf8 else []

    def content_of(self, mail: Mail) -> bytes:
        return mail.raw

    def close(self) -> None:
        self._result(self._mailer.close())


class AsyncMailerClient(MailerClient):
    """`mailbackends.AsyncMailer`, given bytes, in an event loop that runs during each call."""

    name = "AsyncMailer"

    def __init__(self, access: Access) -> None:
        self._runner = asyncio.Runner()
        super().__init__(access)

    def _new_mailer(self, options: dict[str, Any]) -> Any:
        return AsyncMailer(**options)

    def _result(self, returned: Any) -> Any:
        return self._runner.run(returned)

    def close(self) -> None:
        super().close()
        self._runner.close()


def _codes(receipt: Receipt) -> dict[str, int]:
    return {who: reply.code for who, reply in receipt.refused.items()}
