"""Each cause of a failed handshake is reported, with a fix."""

import contextlib
import pathlib
import socket
import ssl
import tempfile
import threading
import warnings

import pytest
import trustme

from mailbackends.errors import ConfigurationError, SMTPCertificateError, SMTPTLSError
from mailbackends.transport.stream import Stream
from mailbackends.transport.tls import client_context, explained, wants_certificate
from mailbackends.transport.waiting import Deadline, run
from support import certs


def trusting(**options):
    return client_context(cafile=certs.cafile(), **options)


@contextlib.contextmanager
def facing(serve):
    """A stream to a server that does ``serve(sock)``."""
    ours, theirs = socket.socketpair()

    def run():
        theirs.settimeout(10)
        with contextlib.suppress(OSError), theirs:
            serve(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    stream = Stream(ours)
    try:
        yield stream
    finally:
        stream.abort()
        thread.join()


def with_tls(context):
    """A server that completes the handshake, and waits for the client to close."""

    def serve(sock):
        with context.wrap_socket(sock, server_side=True) as server:
            server.recv(1)

    return serve


def failure(serve, *, context=None, name="localhost"):
    with facing(serve) as stream, pytest.raises(SMTPTLSError) as caught:
        run(
            stream.start_tls(context or trusting(), name, Deadline.after(10.0, "the TLS handshake"))
        )
    assert name in str(caught.value)
    return caught.value


def handshake(serve, *, context=None, name="localhost"):
    with facing(serve) as stream:
        run(
            stream.start_tls(context or trusting(), name, Deadline.after(10.0, "the TLS handshake"))
        )
        return stream.sock.version()


@pytest.mark.parametrize("name", ["localhost", "localhost.", "127.0.0.1", "::1", "[::1]"])
def test_a_good_certificate_is_good_by_each_of_its_names(name):
    assert handshake(with_tls(certs.server_context()), name=name) in ("TLSv1.2", "TLSv1.3")


# --- certificates ---------------------------------------------------------------------


def self_signed():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "ca.pem"
        path.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
        context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("server", "context", "name", "mend", "code"),
    [
        (lambda: certs.server_context(expired=True), trusting, "localhost", "it has expired", 10),
        (
            lambda: certs.server_context("mail.test"),
            trusting,
            "localhost",
            "issued for another name: connect by a name that the certificate contains",
            62,
        ),
        (
            lambda: certs.server_context("mail.test"),
            trusting,
            "127.0.0.1",
            "issued for another address: connect by a name",
            64,
        ),
        (
            certs.server_context,
            lambda: client_context(cafile=certs.untrusted_cafile()),
            "localhost",
            "its CA is unknown here: give the CA's file as ssl_cafile",
            20,
        ),
        (certs.server_context, client_context, "localhost", "its CA is unknown here", 20),
        (self_signed, trusting, "localhost", "it is self-signed: give its file", 18),
    ],
    ids=["expired", "wrong name", "wrong address", "wrong CA", "no CA", "self-signed"],
)
def test_a_certificate_that_cannot_be_verified_is_explained(server, context, name, mend, code):
    error = failure(with_tls(server()), context=context(), name=name)
    assert isinstance(error, SMTPCertificateError)
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert mend in str(error)
    assert error.verify_code == code
    assert error.verify_message
    assert error.reason == "CERTIFICATE_VERIFY_FAILED"


def test_a_cause_without_a_known_fix_is_reported_in_openssls_words():
    cause = ssl.SSLCertVerificationError("x")
    cause.verify_code, cause.verify_message = 999, "the moon is in the wrong house"
    error = explained(cause, "mail.test")
    assert "mail.test cannot be verified: the moon is in the wrong house" in str(error)


# --- everything else ------------------------------------------------------------------


def test_a_server_that_does_not_speak_tls_is_recognised():
    def smtp(sock):
        sock.sendall(b"220 mail.test ESMTP, in clear\r\n")
        sock.recv(65536)

    error = failure(smtp)
    assert not isinstance(error, SMTPCertificateError)
    assert "does not speak TLS here: for STARTTLS, as on port 587, set security='starttls'" in str(
        error
    )
    assert error.reason


@pytest.mark.parametrize("before", [b"", b"\x16\x03\x03"])
def test_a_server_that_closes_during_the_handshake_is_reported(before):
    def hang_up(sock):
        sock.recv(65536)
        sock.sendall(before)

    assert "the server closed the connection: look into its log" in str(failure(hang_up))


def test_a_server_that_closed_before_the_handshake_is_reported():
    with facing(lambda sock: None) as stream:
        run(stream.wait(Deadline.after(10.0, "the end")))
        with pytest.raises(SMTPTLSError, match="the server closed the connection"):
            run(stream.start_tls(trusting(), "localhost", Deadline.after(10.0, "the handshake")))


def own_context():
    """A server's context that no other test sees."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certs._authority("trusted").issue_cert("localhost").configure_cert(made)
    return made


def speaking_only(version):
    """A server's context for one version only; skips where OpenSSL cannot."""
    made = own_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            made.set_ciphers("ALL:@SECLEVEL=0")
            made.minimum_version = made.maximum_version = version
        except (ssl.SSLError, ValueError):
            pytest.skip("this OpenSSL cannot")
    return made


def test_a_server_with_only_an_old_tls_version_is_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        version = ssl.TLSVersion.TLSv1_1
    error = failure(with_tls(speaking_only(version)))
    assert "a TLS version that is too old: have it updated to TLS 1.2 or later" in str(error)


def test_the_minimum_version_is_kept():
    server = speaking_only(ssl.TLSVersion.TLSv1_2)
    assert handshake(with_tls(server)) == "TLSv1.2"
    error = failure(with_tls(server), context=trusting(minimum_version="TLSv1.3"))
    assert "too old" in str(error)


def test_any_other_failure_shows_openssls_reason():
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-SHA")
    server = own_context()
    server.set_ciphers("ECDHE+AESGCM")
    error = failure(with_tls(server), context=context)
    assert "takes none of the ciphers offered" in str(error)
    assert "failed (SSLV3_ALERT_HANDSHAKE_FAILURE): " in str(error)


def test_a_server_that_requires_a_client_certificate_is_recognised():
    cause = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert")
    cause.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert wants_certificate(cause)
    assert "give it as ssl_certfile" in str(explained(cause, "mail.test"))
    assert not wants_certificate(None)
    assert not wants_certificate(ssl.SSLError("anything else"))


# --- contexts -------------------------------------------------------------------------


def test_a_context_verifies_certificate_and_name():
    context = client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("option", ["cafile", "certfile", "keyfile"])
def test_a_file_that_is_not_there_is_named(option, tmp_path):
    path = str(tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match=f"ssl_{option}: there is no file") as caught:
        client_context(**{option: path})
    assert path in str(caught.value)


@pytest.mark.parametrize("option", ["cafile", "certfile"])
def test_a_file_that_holds_no_certificate_is_named(option, tmp_path):
    path = tmp_path / "garbage.pem"
    path.write_text("garbage")
    with pytest.raises(ConfigurationError, match=r"no certificate could be read from .*garbage"):
        client_context(**{option: str(path)})


@pytest.mark.parametrize("version", ["TLSv1.4", "SSLv3", "1.2", "tlsv1.2", ""])
def test_an_unknown_tls_version_is_refused(version):
    with pytest.raises(ConfigurationError, match=r"use 'TLSv1\.2' or 'TLSv1\.3'"):
        client_context(minimum_version=version)


@pytest.fixture
def own_files(tmp_path):
    """A certificate of ours, and its key: in clear and encrypted."""
    issued = certs._authority("trusted").issue_cert("client.test")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return str(certificate), str(key), str(encrypted)


def test_the_client_certificate_is_sent_if_the_server_asks_for_one(own_files):
    certificate, key, _ = own_files
    server = own_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certs.cafile())
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    context = trusting(certfile=certificate, keyfile=key)
    assert handshake(with_tls(server), context=context) == "TLSv1.2"
    assert "no TLS connection could be agreed on" in str(failure(with_tls(server)))


def test_an_encrypted_key_is_an_error_instead_of_a_prompt(own_files):
    certificate, _, encrypted = own_files
    with pytest.raises(ConfigurationError, match="encrypted: give one that is not"):
        client_context(certfile=certificate, keyfile=encrypted)
