"""TLS contexts, chains of certificates, and why a handshake failed, in words that help."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from mailbackends.errors import ConfigurationError, SMTPCertificateError, SMTPTLSError
from mailbackends.wording import MAILER, Wording

__all__ = [
    "WANTS_CERTIFICATE",
    "client_context",
    "explained",
    "verified_chain",
    "wants_certificate",
]

WANTS_CERTIFICATE = "the server wants a certificate from us: give it as {ssl_certfile}"

# What is older is not to be used (RFC 8996); OpenSSL refuses it too as it comes.
_VERSIONS = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_TOO_OLD = frozenset({"SSLv2", "SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1"})

# OpenSSL's verify codes (X509_V_ERR_*): what to do about each.
_FIXES = {
    9: "it is not valid yet: check the clocks of both machines",
    10: "it has expired: the server's administrator must renew it",
    18: "it is self-signed: give its file as {ssl_cafile} if you trust it",
    19: "its chain ends in an unknown root: give that CA's file as {ssl_cafile} if you trust it",
    20: "its CA is unknown here: give the CA's file as {ssl_cafile} if you trust it",
    21: "the server does not send the whole chain: have it send the intermediate certificates",
    62: "it was issued for another name: connect by a name that the certificate contains",
    64: "it was issued for another address: connect by a name that the certificate contains",
}
# X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to X509_V_ERR_EC_KEY_EXPLICIT_PARAMS: checked only with
# ssl.VERIFY_X509_STRICT, which ssl.create_default_context() sets since Python 3.13. Many
# private authorities were made without what RFC 5280 requires.
_STRICT = range(80, 95)
_NOT_STRICT = (
    "the certificate, or its CA's, does not follow RFC 5280, as Python 3.13 and later "
    "require: have both issued again, or give an ssl.SSLContext as {ssl_context}, without "
    "ssl.VERIFY_X509_STRICT (context.verify_flags &= ~ssl.VERIFY_X509_STRICT)"
)


def client_context(
    *,
    cafile: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    minimum_version: str = "TLSv1.2",
    wording: Wording = MAILER,
) -> ssl.SSLContext:
    """A context that verifies the server's certificate and name.

    ``cafile`` is trusted beside nothing else; without it the system's store is. ``wording`` has
    the names for error texts.

    Raises:
        ConfigurationError: a file cannot be read, or the version is none or older than TLS 1.2.
    """
    for option, path in (("cafile", cafile), ("certfile", certfile), ("keyfile", keyfile)):
        if path is not None and not Path(path).is_file():
            name = wording.name(f"ssl_{option}")
            raise ConfigurationError(f"{name}: there is no file {str(path)!r}: check the path")
    try:
        version = _VERSIONS[minimum_version]
    except KeyError:
        what = "is too old" if minimum_version in _TOO_OLD else "is unknown"
        name = wording.name("tls_minimum_version")
        raise ConfigurationError(
            f"{name}: the version {minimum_version!r} {what}: use 'TLSv1.2' or 'TLSv1.3'"
        ) from None
    try:
        context = ssl.create_default_context(cafile=cafile)
        context.minimum_version = version
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile, _no_password)
    except _EncryptedKey:
        raise ConfigurationError(
            wording.render(
                "the key of {ssl_certfile} is encrypted: give one that is not, or an "
                "ssl.SSLContext that has loaded it, as {ssl_context}"
            )
        ) from None
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(str(path) for path in (cafile, certfile, keyfile) if path)
        names = ", ".join(
            wording.name(name)
            for name, path in (
                ("ssl_cafile", cafile), ("ssl_certfile", certfile), ("ssl_keyfile", keyfile)
            )
            if path
        )  # fmt: skip
        raise ConfigurationError(
            f"{names}: no certificate could be read from {files}: {error}: give files in PEM"
        ) from error
    return context


class _EncryptedKey(Exception):
    pass


def wants_certificate(error: Exception | None) -> bool:
    """True if the server wants a certificate from us.

    In TLS 1.3 it reports that only after the handshake (RFC 8446 section 4.4.2.4).
    """
    return isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error)


def _no_password() -> str:
    """In place of OpenSSL's own question on the terminal, which no server would answer."""
    raise _EncryptedKey


def explained(
    error: Exception, server_hostname: str, *, after_starttls: bool = False
) -> SMTPTLSError:
    """The documented exception for a failed handshake: why it failed, and the fix."""
    made = _explained(error, server_hostname, after_starttls=after_starttls)
    # What a program written for `ssl` looks at: reason, library, verify_code, ...
    vars(made).update(vars(error))
    return made


def _explained(error: Exception, server_hostname: str, *, after_starttls: bool) -> SMTPTLSError:
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {server_hostname} cannot be verified"
        if error.verify_code in _STRICT:
            return SMTPCertificateError(f"{what}: {error.verify_message}").suggesting(_NOT_STRICT)
        if fix := _FIXES.get(error.verify_code):
            return SMTPCertificateError(what).suggesting(fix)
        return SMTPCertificateError(f"{what}: {error.verify_message}")
    reason = getattr(error, "reason", None) or str(error)
    what = f"the TLS handshake with {server_hostname} failed"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"):
        made = SMTPTLSError(f"{what}: the server does not speak TLS here")
        return made.suggesting(_LOOK if after_starttls else _NO_TLS)
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        fix = "it only speaks a TLS version that is too old: have it updated to TLS 1.2 or later"
    elif wants_certificate(error):
        fix = WANTS_CERTIFICATE
    elif isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError | ValueError):
        fix = "the server closed the connection: look into its log for the reason"
    elif reason in ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INSUFFICIENT_SECURITY"):
        fix = (
            "no TLS connection could be agreed on: the server takes none of the ciphers "
            "offered, or wants a certificate of ours; its log says which"
        )
    else:
        fix = "no TLS connection could be agreed on: the server's log may say why"
    return SMTPTLSError(f"{what} ({reason})").suggesting(fix)


_LOOK = "look into its log"
_NO_TLS = (
    "for STARTTLS, as on port 587, {use_starttls}; else check {port} (465 is usually the one for "
    "TLS from the first byte)"
)


def verified_chain(sock: ssl.SSLSocket) -> list[dict[str, Any]]:
    """The authorities above the server's certificate, the root last, as ``getpeercert`` has them.

    Empty where the context verified nothing.
    """
    found: list[dict[str, Any]] = []
    for der in _encoded(sock)[1:]:
        # The only public way of the ssl module to read a certificate other than a peer's:
        # a store lists the authorities that it holds.
        store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        store.load_verify_locations(cadata=der)
        found += [dict(each) for each in store.get_ca_certs()]
    return found


def _encoded(sock: ssl.SSLSocket) -> list[bytes]:
    """The verified chain in DER, the server's own certificate first."""
    if hasattr(sock, "get_verified_chain"):  # Python 3.13
        return list(sock.get_verified_chain() or ())
    # Before 3.13 the same is one level below, without a public name.
    inner: Any = getattr(sock, "_sslobj", None)
    chain = inner.get_verified_chain() if hasattr(inner, "get_verified_chain") else None
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain or ()]
