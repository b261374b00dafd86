"""`diagnose`: connect to a server step by step, and find the step that fails."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from mailbackends.dkim import DKIM
from mailbackends.dkim.record import Resolver
from mailbackends.doctor.findings import certificate_of, describe_token, examine_key
from mailbackends.doctor.step import Step, explained
from mailbackends.errors import (
    SMTPConnectionError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPTimeoutError,
    SMTPTLSError,
)
from mailbackends.mailer import Options
from mailbackends.mailer.opening import connected, context_of, timeouts_of
from mailbackends.mime.address import parse_path, to_ascii
from mailbackends.protocol import dialogue
from mailbackends.protocol.command import Command, mail, rcpt
from mailbackends.protocol.session import Session
from mailbackends.protocol.state import Dialogue
from mailbackends.providers import provider_of
from mailbackends.reply import Reply
from mailbackends.secret import Secret
from mailbackends.transport.dial import own_name
from mailbackends.transport.driver import Driver
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import Timeouts, run

__all__ = ["diagnose"]

T = TypeVar("T")

# How long to wait for a greeting before looking whether the server expects TLS, in seconds.
_GREETING = 3.0
_NOTEWORTHY = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "STARTTLS")


def diagnose(
    options: Options,
    *,
    probe_from: str | None = None,
    probe_to: str | None = None,
    resolver: Resolver | None = None,
) -> Iterator[Step]:
    """Connect to the server with these options, up to and including the login.

    Each step runs when the iterator is advanced; the first one that fails is the last. No
    message is sent, and the session ends with QUIT. With ``probe_from`` and ``probe_to`` the
    server is asked whether it would accept a message from this sender to this recipient
    (MAIL and RCPT, then RSET). With ``probe_from`` alone it is asked for the sender only, with
    ``probe_to`` alone that address is the sender too; the sender may be empty. Last, each key of
    ``dkim`` is compared with its record in the DNS, by ``resolver``: a function from a name to
    its TXT records. Default: ``dnspython``.

    Raises:
        ConfigurationError: a file of certificates cannot be read.
        InvalidAddressError: one of the two addresses is invalid.
    """
    diagnosis = _Diagnosis(options, _probe(probe_from, probe_to), resolver)
    try:
        for name, examine in diagnosis.steps():
            started = time.monotonic()
            diagnosis.findings, diagnosis.warnings = [], []
            error = None
            try:
                examine()
            except OSError as problem:
                if isinstance(problem, SMTPException):
                    problem.wording = options.wording
                error = diagnosis.with_provider(name, explained(problem))
            yield Step(
                name,
                time.monotonic() - started,
                tuple(diagnosis.findings),
                tuple(diagnosis.warnings),
                error,
            )
            if error:
                return
    finally:
        diagnosis.disconnect()


def _probe(sender: str | None, recipient: str | None) -> tuple[str, str | None] | None:
    to = None if recipient is None else to_ascii(parse_path(recipient))
    if sender is None:
        return None if to is None else (to, to)
    return "" if sender in ("", "<>") else to_ascii(parse_path(sender, of="sender")), to


class _Diagnosis:
    def __init__(
        self,
        options: Options,
        probe: tuple[str, str | None] | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.options = options
        self.resolver = resolver
        self.addresses = probe
        seconds = options.deadline
        latest = None if seconds is None else time.monotonic() + seconds
        self.timeouts = timeouts_of(options, latest)
        self.context = context_of(options)
        self.stream: Stream | None = None
        self.session = Session(is_lmtp=options.protocol == "lmtp")
        self.findings: list[str] = []
        self.warnings: list[str] = []

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        options = self.options
        if options.socket_path is None:
            yield "resolve", self.resolve
        yield "connect", self.connect
        if options.security == "tls":
            yield "TLS", self.start_tls
        yield "greeting", self.greeting
        yield "LHLO" if self.session.is_lmtp else "EHLO", self.hello
        if options.security == "starttls":
            yield "STARTTLS", self.starttls
        if options.tokens is not None:
            yield "token", self.get_token
        if options.credentials is not None:
            yield "login", self.login
        if self.addresses is not None:
            yield "probe", self.probe
        for key in options.dkim or ():
            yield "DKIM", functools.partial(self.examine_key, key)

    def with_provider(self, step: str, error: str) -> str:
        """The error, with a note about this provider if it may be the reason."""
        provider = provider_of(self.options.host)
        if provider is None:
            return error
        if step == "login" and self.options.tokens is None:
            return f"{error}. {provider.name} takes {provider.login}"
        hint = provider.hint(self.options.server_port, self.options.security)
        return f"{error}. {hint}" if hint else error

    def resolve(self) -> None:
        try:
            found = socket.getaddrinfo(
                self.options.host.strip("[]"), self.options.server_port, 0, socket.SOCK_STREAM
            )
        except OSError as error:
            raise SMTPConnectionError.because_of(error, self.options.server) from error
        self.findings = list(dict.fromkeys(str(address[0]) for *_, address in found))

    def connect(self) -> None:
        options = self.options
        sock = self._dial()
        self.stream = Stream(sock)
        self.driver = Driver(
            self.session, self.stream, tls_context=self.context, tls_hostname=options.host
        )
        self.name = options.local_hostname or own_name(sock)
        peer = sock.getpeername()
        self.findings.append(f"to {peer[0]} port {peer[1]}" if isinstance(peer, tuple) else peer)

    def _dial(self) -> socket.socket:
        try:
            return run(connected(self.options, self.timeouts.for_connect()))
        except SMTPException:
            raise
        except OSError as error:
            raise SMTPConnectionError.because_of(error, self.options.server) from error

    def start_tls(self) -> None:
        if self.stream is None or self.context is None:  # pragma: no cover - see `steps`
            raise RuntimeError("not connected")
        run(self.stream.start_tls(self.context, self.options.host, self.timeouts.for_handshake()))
        self.session.is_tls = True
        self._describe_tls()

    def greeting(self) -> None:
        if self.options.security != "tls" and self.options.socket_path is None:
            self._check_for_tls()
        self.findings.append(str(self._run(dialogue.greeting(self.session))))

    def _check_for_tls(self) -> None:
        """Fail if the server sends no greeting, but accepts TLS from the first byte."""
        if self.stream is None:  # pragma: no cover - see `steps`
            raise RuntimeError("not connected")
        seconds = min(_GREETING, self.options.timeout or _GREETING)
        patience = Timeouts(connect=seconds, command=seconds, latest=self.timeouts.latest)
        with contextlib.suppress(SMTPTimeoutError):
            run(self.stream.wait(patience.for_reply()))
            return
        # Nothing is sent in this session, so the certificate need not be verified.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            other = Stream(self._dial())
            try:
                run(other.start_tls(context, self.options.host, patience.for_handshake()))
            finally:
                other.abort()
        except OSError:
            return
        else:
            raise SMTPTLSError("the server sends no greeting").suggesting(
                "it expects TLS from the first byte: {use_tls}"
            )

    def hello(self) -> None:
        self._run(dialogue.hello(self.session, self.name))
        self.findings.append(f"as {self.name}")
        self._describe_extensions()
        if self.options.security == "none" and "STARTTLS" in self.session.extensions:
            fix = self.options.wording.render("{use_starttls}")
            self.warnings.append(f"the server offers TLS, and it is not used: {fix}")

    def starttls(self) -> None:
        self._run(dialogue.starttls(self.session, self.name))
        self._describe_tls()
        self._describe_extensions()

    def get_token(self) -> None:
        if self.options.tokens is None:  # pragma: no cover - see `steps`
            raise RuntimeError("no token provider")
        token = Secret(self.options.tokens())
        self.findings, self.warnings = describe_token(token)

    def login(self) -> None:
        credentials = self.options.credentials
        if credentials is None:  # pragma: no cover - see `steps`
            raise RuntimeError("no credentials")
        login = dialogue.login(self.session, credentials, self.options.auth_mechanisms)
        reply = self._run(login)
        self.findings += [f"as {self.options.username}", str(reply)]

    def probe(self) -> None:
        sender, recipient = self.addresses or ("", None)
        reply = self._ask(mail(sender))
        if not reply.is_positive:
            raise SMTPSenderRefused(reply.code, reply.message, sender)
        self.findings.append(f"sender <{sender}>: {reply}")
        if recipient is not None:
            reply = self._ask(rcpt(recipient))
            if not reply.is_positive:
                raise SMTPRecipientsRefused.of({recipient: reply})
            self.findings.append(f"recipient <{recipient}>: {reply}")
        self._ask(Command("RSET"))

    def examine_key(self, key: DKIM) -> None:
        self.findings, self.warnings = examine_key(key, self.resolver)

    def _run(self, dialogue: Dialogue[T]) -> T:
        return run(self.driver.run(dialogue, self.timeouts))

    def _ask(self, command: Command) -> Reply:
        return self._run(dialogue.ask(self.session, command))

    def disconnect(self) -> None:
        if self.stream is None:
            return
        with contextlib.suppress(OSError):
            if self.session.is_reusable:
                dialogue.quit_now(self.session)
                self.driver.send_at_once()
        self.stream.abort()

    def _describe_extensions(self) -> None:
        extensions = self.session.extensions
        names = [name for name in _NOTEWORTHY if name in extensions]
        self.findings.append(f"offers {', '.join(names) or 'none of ' + ', '.join(_NOTEWORTHY)}")
        if extensions.auth_mechanisms:
            self.findings.append(f"logins: {', '.join(extensions.auth_mechanisms)}")
        if extensions.max_size:
            self.findings.append(f"messages of up to {extensions.max_size:,} bytes")

    def _describe_tls(self) -> None:
        sock = self.stream.sock if self.stream is not None else None
        if not isinstance(sock, ssl.SSLSocket):  # pragma: no cover - it is, after a handshake
            return
        cipher = sock.cipher()
        self.findings.append(f"{sock.version()}, {cipher[0] if cipher else 'no cipher'}")
        findings, warnings = certificate_of(sock)
        self.findings += findings
        self.warnings += warnings
