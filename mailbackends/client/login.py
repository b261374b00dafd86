"""Logging in: `login` and `auth` run `mailbackends.protocol.authentication`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mailbackends.client.channel import CodeAndText, add_hint
from mailbackends.client.commands import Commands
from mailbackends.errors import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupportedError,
)
from mailbackends.protocol import authentication, hints, sasl
from mailbackends.protocol.command import Command
from mailbackends.reply import Reply
from mailbackends.secret import Secret, SecretCallable, without_frames

__all__ = ["AuthObject", "Login"]

AuthObject: TypeAlias = Callable[..., str | None]
"""Called without an argument for the initial response, None if there is none; then with each
challenge, as bytes, for the response to it. Responses are text, which is sent in base64."""


class Login(Commands):
    """`login` and `auth`, and an auth object for each mechanism with a password."""

    user: str
    """The user name of the last `login`, which the auth objects use."""
    _password: Secret
    _auth_challenge_count: int = 0
    """The responses sent so far in this exchange."""

    @property
    def password(self) -> str:
        """The password of the last `login`, which the auth objects use."""
        return self._password.reveal()

    @password.setter
    def password(self, password: str | Secret) -> None:
        self._password = Secret(password)

    def login(
        self,
        user: str,
        password: str | Secret | Callable[[], str],
        *,
        initial_response_ok: bool = True,
    ) -> CodeAndText:
        """Log in with each mechanism in common, from strong to weak, until one succeeds.

        A refused mechanism is not final while another is left: some servers announce
        mechanisms that they have no secrets for. ``password`` may be a function that returns
        an OAuth 2.0 access token; it is called once more after a 535, since the token may just
        have expired. Without ``initial_response_ok`` each mechanism waits for the server's
        first challenge.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPNotSupportedError: the server does not announce AUTH.
            SMTPException: no usable mechanism in common.
            SMTPAuthenticationError: the last refusal, or the server broke the mechanism; in
                that case no weaker one is tried, and the connection is closed. As with each
                exception, the traceback has none of the frames that held the password.
        """
        secret = SecretCallable(password) if callable(password) else Secret(password)
        del password
        try:
            return self._login(user, secret, initial_response_ok)
        except Exception as error:
            without_frames(error)
            if isinstance(error, SMTPException):
                if isinstance(error, SMTPAuthenticationError):
                    error.username = user
                add_hint(error)
            raise

    def _login(
        self, user: str, password: Secret | SecretCallable, initial_response_ok: bool
    ) -> CodeAndText:
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("auth"):
            error = SMTPNotSupportedError("SMTP AUTH extension not supported by server.")
            raise error.suggesting(hints.no_login(self._extensions(), is_tls=self._is_tls()))
        self.user = user
        self._masking.exempt(user)
        if isinstance(password, SecretCallable):
            credentials = sasl.Credentials(user, token_provider=password)
        else:
            self._password = password
            credentials = sasl.Credentials(user, password)
        attempts = authentication.attempts(self.esmtp_features["auth"].split(), credentials)
        try:
            mechanism = next(attempts)
        except SMTPNotSupportedError as error:
            raise SMTPException("No suitable authentication method found.") from error
        while True:
            # A subclass may define an auth object for any mechanism.
            method = f"auth_{mechanism.name.lower().replace('-', '_')}"
            authobject = getattr(self, method, None) or _AuthObject(mechanism)
            try:
                return self.auth(
                    mechanism.name, authobject, initial_response_ok=initial_response_ok
                )
            except SMTPAuthenticationError as error:
                if self.sock is None:
                    raise
                refusal = error
            mechanism = attempts.send(refusal)

    def auth(
        self, mechanism: str, authobject: AuthObject, *, initial_response_ok: bool = True
    ) -> CodeAndText:
        """Run one AUTH exchange with the responses of ``authobject`` (RFC 4954 section 4).

        An exception that it raises at a challenge reaches the caller, after the exchange was
        cancelled.

        Raises:
            SMTPAuthenticationError: refused, or the server broke the mechanism.
            SMTPException: the server sends challenges without end; the connection is closed.
        """
        try:
            return self._auth(mechanism, authobject, initial_response_ok)
        except Exception as error:
            without_frames(error)
            raise

    def _auth(
        self, mechanism: str, authobject: AuthObject, initial_response_ok: bool
    ) -> CodeAndText:
        responder: authentication.Responder
        if isinstance(authobject, _AuthObject):
            responder = authobject.mechanism
        else:
            responder = _Responder(self, mechanism.upper(), authobject)
        exchange = authentication.exchange(
            responder,
            self.close,
            use_initial_response=initial_response_ok,
            rules=authentication.SMTPLIB_RULES,
        )
        self._auth_challenge_count = 0
        command = next(exchange)
        try:
            while True:
                try:
                    code, message = self._answered(command)
                except SMTPException as error:
                    command = exchange.throw(error)
                else:
                    command = exchange.send(Reply.of(code, message))
        except StopIteration as end:
            return end.value.code, end.value.message

    def auth_cram_md5(self, challenge: bytes | None = None) -> str | None:
        """The auth object for CRAM-MD5, with ``user`` and ``password``."""
        if challenge is None:
            return None
        mechanism = sasl.CramMD5(self._credentials)
        mechanism.initial_response()
        return mechanism.respond(challenge).decode()

    def auth_plain(self, challenge: bytes | None = None) -> str:
        """The auth object for PLAIN, with ``user`` and ``password``."""
        return (sasl.Plain(self._credentials).initial_response() or b"").decode()

    def auth_login(self, challenge: bytes | None = None) -> str:
        """The auth object for LOGIN, with ``user`` and ``password``."""
        count = self._auth_challenge_count
        # Prompts are free text, and are answered in order. But a server that ignored the
        # initial response asks for the user name now, and would log the password as one.
        wants_user = challenge is None or count < 2
        if challenge is not None and count == 2:
            prompt = challenge.lower()
            wants_user = b"user" in prompt and b"pass" not in prompt
        mechanism = sasl.Login(self._credentials)
        user = mechanism.initial_response() or b""
        return (user if wants_user else mechanism.respond(b"Password:")).decode()

    @property
    def _credentials(self) -> sasl.Credentials:
        return sasl.Credentials(self.user, self._password)

    def _answered(self, command: Command) -> CodeAndText:
        if command.verb == "AUTH":
            return self.docmd(command.verb, command.argument)
        return self.docmd(command.verb or command.argument)


class _AuthObject:
    """A mechanism of ours, for which `auth` needs no auth object."""

    def __init__(self, mechanism: sasl.Mechanism) -> None:
        self.mechanism = mechanism

    def __call__(self, challenge: bytes | None = None) -> str | None:
        """As any auth object: a subclass may override `auth`."""
        if challenge is not None:
            return self.mechanism.respond(challenge).decode()
        initial = self.mechanism.initial_response()
        return None if initial is None else initial.decode()


class _Responder:
    """An auth object, as `authentication.exchange` uses a mechanism."""

    def __init__(self, client: Login, name: str, authobject: AuthObject) -> None:
        self._client = client
        self._authobject = authobject
        self.name = name

    def initial_response(self) -> bytes | None:
        """The response without a challenge."""
        response = self._authobject()
        if response is None:
            return None
        self._client._auth_challenge_count = 1
        return _as_bytes(response)

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge."""
        self._client._auth_challenge_count += 1
        return _as_bytes(self._authobject(challenge) or "")

    def finish(self, reply_text: bytes = b"") -> None:
        """The auth object had its chance at the last challenge."""


def _as_bytes(response: str) -> bytes:
    try:
        return response.encode()
    except UnicodeEncodeError:
        pass  # The exception, and its context, would contain the secret.
    del response
    raise sasl.SASLCredentialsError("the response contains half a surrogate pair")
