"""Certificates that only the strict check of Python 3.13 and later refuses are explained."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailbackends import Mailer, SMTPCertificateError

KEY = ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def builder(subject: str, issuer: str) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def files(folder: Path, *, is_critical: bool, has_key_identifier: bool) -> tuple[Path, Path]:
    """The files of an authority, and of a server's certificate with its key."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = (
        builder("private authority", "private authority")
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=is_critical)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(KEY, hashes.SHA256())
    )
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = builder("mail server", "private authority").add_extension(
        x509.SubjectAlternativeName(addresses), critical=False
    )
    if has_key_identifier:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        server = server.add_extension(issuer, critical=False)
    cafile, certfile = folder / "ca.pem", folder / "server.pem"
    pem = serialization.Encoding.PEM
    cafile.write_bytes(authority.public_bytes(pem))
    certfile.write_bytes(
        KEY.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server.sign(KEY, hashes.SHA256()).public_bytes(pem)
    )
    return cafile, certfile


@contextmanager
def tls_server(certfile: Path) -> Iterator[int]:
    """Accepts one connection, and ends after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(b"554 5.3.2 No service\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("is_critical", "has_key_identifier"), [(False, True), (True, False)],
    ids=["basicConstraints is not critical", "no authorityKeyIdentifier"],
)  # fmt: skip
def test_a_certificate_that_only_the_strict_check_refuses_is_explained(
    tmp_path: Path, is_critical: bool, has_key_identifier: bool
) -> None:
    cafile, certfile = files(
        tmp_path, is_critical=is_critical, has_key_identifier=has_key_identifier
    )
    context = ssl.create_default_context(cafile=str(cafile))
    # Python 3.11 and 3.12 do not set it by default.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        tls_server(certfile) as port,
        Mailer(host="127.0.0.1", port=port, security="tls", ssl_context=context) as mailer,
        pytest.raises(SMTPCertificateError) as caught,
    ):
        mailer.send_message(b"Subject: x\r\n\r\nx\r\n", "a@example.com", "b@example.com")
    assert "RFC 5280" in str(caught.value)
    assert "as ssl_context, without ssl.VERIFY_X509_STRICT (context.verify_flags &= ~ssl." in str(
        caught.value
    )


@pytest.mark.parametrize("has_key_identifier", [True, False])
def test_the_suggested_context_accepts_the_certificate(
    tmp_path: Path, has_key_identifier: bool
) -> None:
    cafile, certfile = files(tmp_path, is_critical=False, has_key_identifier=has_key_identifier)
    context = ssl.create_default_context(cafile=str(cafile))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with (
        tls_server(certfile) as port,
        Mailer(host="127.0.0.1", port=port, security="tls", ssl_context=context) as mailer,
        pytest.raises(OSError, match="No service"),
    ):
        mailer.send_message(b"Subject: x\r\n\r\nx\r\n", "a@example.com", "b@example.com")
