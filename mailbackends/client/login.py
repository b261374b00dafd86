"""Logging in: AUTH, with each mechanism in turn."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TypeAlias

from mailbackends.client.commands import Commands, Reply
from mailbackends.errors import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupportedError,
)
from mailbackends.protocol import sasl

__all__ = ["AuthObject", "Login"]

AuthObject: TypeAlias = Callable[..., str | None]
"""Called without an argument for the initial response, None where there is none; then
with each challenge, as bytes, for the response to it. Text, to be sent in base64."""

# The standard library's number. No mechanism in use needs more than four.
_MAX_CHALLENGES = 5
_AUTHENTICATED = (235, 503)


class Login(Commands):
    """`login` and `auth`, and an auth object for each mechanism that takes a password."""

    user: str
    """The user name of the last `login`, which the auth objects use."""
    password: str
    """The password of the last `login`, which the auth objects use."""
    _auth_challenge_count: int = 0

    def login(
        self, user: str, password: str | Callable[[], str], *, initial_response_ok: bool = True
    ) -> Reply:
        """Log in with each mechanism that both sides know, from strong to weak.

        A mechanism that is refused is not the last word while another is left: servers
        announce some that they have no secrets for. ``password`` may be a function that
        returns an OAuth 2.0 access token; it is called once more after a 535, for the
        token may just have expired. Without ``initial_response_ok`` each mechanism waits
        for the server to ask.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPNotSupportedError: the server does not know AUTH.
            SMTPException: it knows no mechanism that can be used.
            SMTPAuthenticationError: the last refusal, or the server did not keep to the
                mechanism; in that case no weaker one is tried.
        """
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("auth"):
            raise SMTPNotSupportedError("SMTP AUTH extension not supported by server.")
        self.user = user
        if callable(password):
            credentials = sasl.Credentials(user, token_provider=password)
        else:
            self.password = password
            credentials = sasl.Credentials(user, password)
        try:
            mechanisms = sasl.choose(self.esmtp_features["auth"].split(), credentials)
        except SMTPNotSupportedError as error:
            raise SMTPException("No suitable authentication method found.") from error
        for mechanism in mechanisms:
            for _ in range(1 if credentials.token_provider is None else 2):
                try:
                    return self._log_in(mechanism, credentials, initial_response_ok)
                except SMTPAuthenticationError as error:
                    refusal = error
                if self.sock is None or isinstance(refusal.__cause__, sasl.SASLServerError):
                    raise refusal
                if refusal.smtp_code != 535:
                    break
        raise refusal

    def auth(
        self, mechanism: str, authobject: AuthObject, *, initial_response_ok: bool = True
    ) -> Reply:
        """One AUTH exchange; ``authobject`` says what is sent in it (RFC 4954 section 4).

        What it raises while the server waits for a response comes through, after the
        exchange was cancelled.

        Raises:
            SMTPAuthenticationError: refused, or the server did not keep to the mechanism.
            SMTPException: the server goes on with challenges without end; the connection
                is closed.
        """
        name = mechanism.upper()
        response = self._initial_response(authobject) if initial_response_ok else None
        self._auth_challenge_count = 0 if response is None else 1
        if response is None:
            code, message = self.docmd("AUTH", name)
        else:
            # An empty one is not none (RFC 4954 section 4).
            code, message = self.docmd("AUTH", f"{name} {response or '='}")
        while code == 334:
            self._auth_challenge_count += 1
            code, message = self.docmd(self._response(authobject, message))
            if self._auth_challenge_count > _MAX_CHALLENGES:
                self.close()
                raise SMTPException(
                    "Server AUTH mechanism infinite loop. Last response: "
                    f"{(code, self._masking.received(message))!r}"
                )
        if code in _AUTHENTICATED:
            return code, message
        raise SMTPAuthenticationError(code, self._masking.received(message))

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
        # Prompts are free text and go by their order, but a server that overlooked the
        # initial response asks for the name now, and would log the password as one.
        wants_user = challenge is None or count < 2
        if challenge is not None and count == 2:
            prompt = challenge.lower()
            wants_user = b"user" in prompt and b"pass" not in prompt
        mechanism = sasl.Login(self._credentials)
        user = mechanism.initial_response() or b""
        return (user if wants_user else mechanism.respond(b"")).decode()

    @property
    def _credentials(self) -> sasl.Credentials:
        return sasl.Credentials(self.user, self.password)

    def _log_in(
        self, kind: type[sasl.Mechanism], credentials: sasl.Credentials, initial_response_ok: bool
    ) -> Reply:
        # A subclass may have an auth object of its own for any mechanism.
        authobject: AuthObject | None = getattr(
            self, f"auth_{kind.name.lower().replace('-', '_')}", None
        )
        if authobject is not None:
            return self.auth(kind.name, authobject, initial_response_ok=initial_response_ok)
        mechanism = kind(credentials)
        reply = self.auth(
            kind.name, _as_auth_object(mechanism), initial_response_ok=initial_response_ok
        )
        try:
            if reply[0] == 235:
                mechanism.finish(reply[1])
        except sasl.SASLServerError as error:
            # It may be someone who does not know the password and wants our mail.
            self.close()
            raise _authentication_error(error) from error
        return reply

    def _initial_response(self, authobject: AuthObject) -> str | None:
        try:
            response = authobject()
            return None if response is None else self._encoded(response)
        except sasl.SASLError as error:
            raise _authentication_error(error) from error

    def _response(self, authobject: AuthObject, challenge: bytes) -> str:
        try:
            return self._encoded(authobject(_decoded(challenge)) or "")
        except sasl.SASLError as error:
            self._cancel()
            raise _authentication_error(error) from error
        except Exception:
            self._cancel()
            raise

    def _cancel(self) -> None:
        """End the exchange; without this the next command would be read as a response."""
        code, _ = self.docmd("*")
        if code < 400:
            self.close()

    def _encoded(self, response: str) -> str:
        try:
            data = response.encode()
        except UnicodeEncodeError:
            pass  # the exception, and its context, would carry the secret
        else:
            encoded = base64.b64encode(data).decode("ascii")
            self._masking.remember(encoded)
            return encoded
        del response
        raise sasl.SASLCredentialsError("the response holds half a surrogate pair")


def _as_auth_object(mechanism: sasl.Mechanism) -> AuthObject:
    def authobject(challenge: bytes | None = None) -> str | None:
        if challenge is None:
            opening = mechanism.initial_response()
            return None if opening is None else opening.decode()
        return mechanism.respond(challenge).decode()

    return authobject


def _decoded(challenge: bytes) -> bytes:
    # Leniently, as the standard library: prompts are seen that are no proper base64.
    try:
        return binascii.a2b_base64(challenge)
    except binascii.Error:
        pass
    raise sasl.SASLServerError("the server's challenge is not base64")


def _authentication_error(error: sasl.SASLError) -> SMTPAuthenticationError:
    return SMTPAuthenticationError(535, str(error).encode())
