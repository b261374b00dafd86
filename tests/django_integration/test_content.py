"""Addresses, header fields, bodies and attachments, as they arrive at the server."""

from __future__ import annotations

from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import Message
from email.mime.text import MIMEText
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import SimpleLazyObject, lazystr

from django_integration import attach_inline_image, attach_path
from mailbackends import InvalidAddressError, InvalidMessageError, SMTPNotSupportedError
from support.server import MailServer

Use = Callable[..., None]


def send(**given: Any) -> EmailMessage:
    message = EmailMessage(**{"subject": "s", "body": "b", "to": ["a@example.com"]} | given)
    assert message.send() == 1
    return message


# Addresses


@pytest.mark.parametrize(
    ("written", "on_the_wire"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada <ada@example.com>", "ada@example.com"),
        ('"Lovelace, Ada" <ada@example.com>', "ada@example.com"),
        ("Example Inc. <info@example.com>", "info@example.com"),
        ("Ädä Löveläce <ada@example.com>", "ada@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--fa-hia.example.com", "ada@xn--fa-hia.example.com"),
        ('"ada lovelace"@example.com', '"ada lovelace"@example.com'),
        ("root@localhost", "root@localhost"),
        ("ada@[127.0.0.1]", "ada@[127.0.0.1]"),
        # As large providers have given them out, and as Django 5.2 sends them.
        ("a..b@docomo.example", "a..b@docomo.example"),
        ("x.@docomo.example", "x.@docomo.example"),
        (".x@docomo.example", ".x@docomo.example"),
        ("Name <a..b@docomo.example>", "a..b@docomo.example"),
        ("Example Inc. <x.@docomo.example>", "x.@docomo.example"),
        ("Ädä <x.@docomo.example>", "x.@docomo.example"),
        ("a b@example.com", '"a b"@example.com'),
        ("Name <a b.c@example.com>", '"a b.c"@example.com'),
        ('"Name, B" <a b@example.com>', '"a b"@example.com'),
    ],
)
def test_addresses_on_the_wire(mail: MailServer, written: str, on_the_wire: str) -> None:
    send(from_email=written, to=[written])
    assert mail.message.mail_from == on_the_wire
    assert mail.message.rcpt_tos[0] == on_the_wire
    assert "SMTPUTF8" not in mail.message.mail_options


@pytest.mark.parametrize("address", ["a..b@docomo.example", "Ädä <x.@docomo.example>"])
@pytest.mark.parametrize("fast_paths", [True, False])
def test_an_address_with_unusual_dots_is_the_same_in_the_header(
    use_mail: Use, server: MailServer, address: str, fast_paths: bool
) -> None:
    use_mail(host=server.host, port=server.port, fast_paths=fast_paths)
    send(to=[address])
    [line] = [line for line in server.message.content.split(b"\r\n") if line.startswith(b"To:")]
    assert parseaddr(line.decode()[4:])[1] == parseaddr(address)[1] == server.message.rcpt_tos[0]


@pytest.mark.parametrize("fast_paths", [True, False])
@pytest.mark.parametrize("name", ["", "Åsa "])
def test_header_and_envelope_have_the_same_international_domain(
    use_mail: Use, server: MailServer, name: str, fast_paths: bool
) -> None:
    pytest.importorskip("idna")
    use_mail(host=server.host, port=server.port, fast_paths=fast_paths)
    address = f"{name}<i@faß.example>" if name else "i@faß.example"
    send(from_email=address, to=[address], cc=[address], reply_to=[address])
    received = server.message
    assert {received.mail_from, *received.rcpt_tos} == {"i@xn--fa-hia.example"}
    for field in ("From", "To", "Cc", "Reply-To"):
        value = str(make_header(decode_header(received.message[field])))
        assert parseaddr(value) == (name.strip(), "i@xn--fa-hia.example")


@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u200f", "\xad"])
def test_an_invisible_character_in_an_address_is_refused_by_name(
    mail: MailServer, character: str
) -> None:
    with pytest.raises(InvalidAddressError, match=f"U\\+{ord(character):04X}"):
        send(to=[f"{character}b@example.com"])
    assert mail.connections == 0


@pytest.mark.parametrize("fast_paths", [True, False])
@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_only_cr_and_lf_end_a_header_field(
    use_mail: Use, server: MailServer, character: str, fast_paths: bool
) -> None:
    use_mail(host=server.host, port=server.port, fast_paths=fast_paths)
    text = f"Your order{character}has been sent"
    send(subject=text, headers={"X-Note": text}, to=[f'"Ada{character}L" <a@example.com>'])
    received = server.message
    assert received.rcpt_tos == ("a@example.com",)
    for field in ("Subject", "X-Note"):
        assert str(make_header(decode_header(received.message[field]))) == text
    name = str(make_header(decode_header(parseaddr(received.message["To"])[0])))
    assert name == f"Ada{character}L" or django.VERSION < (6, 0)  # which loses the character
    assert received.content.isascii()


def test_a_local_part_that_is_not_ascii_uses_smtputf8(mail: MailServer) -> None:
    send(to=["Åh <åh@example.dk>"], subject="Grüße")
    received = mail.message
    assert received.rcpt_tos == ("åh@example.dk",)
    assert "SMTPUTF8" in received.mail_options
    assert "To: Åh <åh@example.dk>" in received.content.decode()


def test_a_server_without_smtputf8_is_an_error_that_says_so(mail: MailServer) -> None:
    mail.answer("EHLO", "250-mail.test\r\n250 SIZE 1000000", times=None)
    message = EmailMessage("s", "b", to=["åh@example.dk"])
    with pytest.raises(SMTPNotSupportedError, match="SMTPUTF8"):
        message.send()
    assert mail.messages == []


@pytest.mark.parametrize(
    "address",
    [
        "to@other.com@example.com",
        "to@other.com <to@example.com>",
        "to@example.com, other@example.com",
        "@",
        "to@",
        "@example.com",
        '"evil@example.com\r\nto"@example.com',
        "to\nevil@example.com",
        "to@example.com\r\nRCPT TO:<evil@example.com>",
        "to@exam\x00ple.com",
    ],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc", "from_email"])
def test_an_invalid_address_is_refused_before_connecting(
    mail: MailServer, address: str, field: str
) -> None:
    given: dict[str, Any] = {"to": ["a@example.com"]}
    given[field] = address if field == "from_email" else [address]
    message = EmailMessage("s", "b", **given)
    with pytest.raises(InvalidAddressError, match="Invalid address") as caught:
        message.send()
    assert repr(address) in str(caught.value)
    assert mail.connections == 0


def test_lazy_addresses_and_subjects_work(mail: MailServer) -> None:
    send(
        subject=lazystr("lazy"), from_email=lazystr("f@example.com"), to=[lazystr("a@example.com")]
    )
    assert mail.message.mail_from == "f@example.com"
    assert mail.message.message["Subject"] == "lazy"


@pytest.mark.parametrize("fast_paths", [True, False])
@pytest.mark.parametrize("lazy", [lazystr, lambda text: SimpleLazyObject(lambda: text)])
def test_header_values_bodies_and_file_names_can_be_lazy(
    use_mail: Use, server: MailServer, fast_paths: bool, lazy: Callable[[str], Any]
) -> None:
    use_mail(host=server.host, port=server.port, fast_paths=fast_paths)
    message = EmailMultiAlternatives(
        lazy("Subject"), lazy("Body"), to=["a@example.com"], headers={"X-Note": lazy("Note")}
    )
    message.attach_alternative(lazy("<p>HTML</p>"), "text/html")
    message.attach(lazy("report.txt"), b"text", "text/plain")
    message.attach(lazy("report.pdf"), b"%PDF", "application/pdf")
    attach_inline_image(message, b"png", filename=lazy("logo.png"), mimetype="image/png")
    assert message.send() == 1
    received = server.message.message
    assert (received["Subject"], received["X-Note"]) == ("Subject", "Note")
    names = [part.get_filename() for part in received.walk() if part.get_filename()]
    assert sorted(names) == ["logo.png", "report.pdf", "report.txt"]
    assert b"Body" in server.message.content
    assert b"<p>HTML</p>" in server.message.content


def test_a_recipient_given_twice_gets_one_mail(mail: MailServer) -> None:
    send(to=["a@example.com"], cc=["A <a@example.com>"])
    assert mail.message.rcpt_tos == ("a@example.com",)


def test_the_null_reverse_path_can_be_given(mail: MailServer) -> None:
    send(from_email="<>", headers={"From": "robot@example.com"})
    assert mail.message.mail_from == ""
    assert mail.message.message["From"] == "robot@example.com"


def test_a_message_without_a_sender_is_refused(mail: MailServer) -> None:
    message = EmailMessage("Hello there", "b", to=["a@example.com"])
    message.from_email = ""
    with pytest.raises(InvalidMessageError, match="'Hello there' has no sender: set from_email"):
        message.send()


# Header fields


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("field", ["subject", "X-Custom", "Reply-To", "From"])
def test_a_line_break_in_a_header_field_is_refused_by_name(
    mail: MailServer, break_: str, field: str
) -> None:
    value = f"harmless{break_}Bcc: evil@example.com"
    given: dict[str, Any] = {"headers": {field: value}} if field != "subject" else {field: value}
    message = EmailMessage(**{"body": "b", "to": ["a@example.com"]} | given)
    with pytest.raises(ValueError, match=f"(?i){field}") as caught:
        message.send()
    assert "harmless" in str(caught.value)
    assert mail.connections == 0


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="BadHeaderError is ValueError from 6.0 on")
def test_django_52_raises_its_own_exception_for_a_line_break(mail: MailServer) -> None:
    from django.core.mail import BadHeaderError

    with pytest.raises(BadHeaderError):
        send(subject="a\nb")


def test_a_line_break_in_the_message_of_a_subclass_is_refused(mail: MailServer) -> None:
    class Careless(EmailMessage):
        def message(self, **kwargs: Any) -> Any:
            made = MIMEText("b")
            made.add_header("X-Careless", "a\nBcc: evil@example.com")
            return made

    with pytest.raises(InvalidMessageError, match="X-Careless"):
        Careless(to=["a@example.com"]).send()
    assert mail.messages == []


# Bodies


def test_a_subclass_can_build_the_message_itself(mail: MailServer) -> None:
    class Own(EmailMessage):
        def message(self, **kwargs: Any) -> Any:
            made = super().message(**kwargs)
            made["X-Own"] = "yes"
            return made

    class Old(EmailMessage):
        """Written for Django before 6.0, without the argument ``policy``."""

        def message(self) -> Message:  # type: ignore[override]
            made = MIMEText("made by hand\n")
            made["From"], made["To"] = self.from_email, self.to[0]
            return made

    for kind in (Own, Old):
        assert kind("s", "b", to=["a@example.com"]).send() == 1
    assert mail.messages[0].message["X-Own"] == "yes"
    assert mail.messages[1].message.get_content() == "made by hand\r\n"


def test_lines_end_with_crlf_and_a_lone_dot_does_not_end_the_message(mail: MailServer) -> None:
    body = "first\n.\n..two\r\n.three\rfour\n\n.\n"
    send(body=body)
    content = mail.message.content
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    text = mail.message.message.get_content()
    assert text.splitlines()[:4] == ["first", ".", "..two", ".three"]
    assert len(mail.messages) == 1


def test_alternatives_keep_their_order(mail: MailServer) -> None:
    message = EmailMultiAlternatives("s", "plain", to=["a@example.com"])
    message.attach_alternative("<b>html</b>", "text/html")
    message.attach_alternative(b'{"a": 1}', "application/json")
    message.send()
    kinds = [part.get_content_type() for part in mail.message.message.iter_parts()]
    assert kinds == ["text/plain", "text/html", "application/json"]


def test_an_attached_message_arrives_unchanged(mail: MailServer) -> None:
    inner = EmailMessage("inner", "inner body", "f@example.com", ["t@example.com"])
    send(attachments=[("inner.eml", inner, "message/rfc822")])
    [attached] = [
        part for part in mail.message.message.walk() if part.get_content_type() == "message/rfc822"
    ]
    assert attached.get_payload(0)["Subject"] == "inner"  # type: ignore[index, union-attr]


# Inline images


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def html_message(**given: Any) -> EmailMultiAlternatives:
    return EmailMultiAlternatives("s", "text", to=["a@example.com"], **given)


def test_an_inline_image_is_in_the_same_multipart_related_as_its_html(mail: MailServer) -> None:
    message = html_message()
    url = attach_inline_image(message, PNG, filename="logo.png")
    message.attach_alternative(f'<img src="{url}">', "text/html")
    message.attach("terms.pdf", b"%PDF", "application/pdf")
    message.send()

    received = mail.message.message
    assert received.get_content_type() == "multipart/mixed"
    alternative, pdf = received.iter_parts()
    _, related = alternative.iter_parts()  # type: ignore[attr-defined]
    assert related.get_content_type() == "multipart/related"
    html, image = related.iter_parts()
    assert html.get_content_type() == "text/html"
    assert image["Content-ID"] == f"<{url.removeprefix('cid:')}>"
    assert image.get_content_disposition() == "inline"
    assert image.get_content() == PNG
    assert pdf.get_filename() == "terms.pdf"


def test_an_image_can_come_from_a_file_with_a_name_that_is_not_ascii(
    mail: MailServer, tmp_path: Path
) -> None:
    path = tmp_path / "löwe.gif"
    path.write_bytes(b"GIF89a")
    message = html_message()
    url = attach_inline_image(message, path, content_id="lion@shop.example")
    assert url == "cid:lion@shop.example"
    message.attach_alternative(f'<img src="{url}">', "text/html")
    message.send()
    [image] = [p for p in mail.message.message.walk() if p.get_content_maintype() == "image"]
    assert (image.get_filename(), image.get_content_type()) == ("löwe.gif", "image/gif")


def test_a_message_with_html_only_can_have_inline_images(mail: MailServer) -> None:
    message = EmailMessage("s", '<img src="cid:x@y">', to=["a@example.com"])
    message.content_subtype = "html"
    attach_inline_image(message, PNG, mimetype="image/png", content_id="x@y")
    message.send()
    related = mail.message.message.get_payload(0)
    assert related.get_content_type() == "multipart/related"  # type: ignore[union-attr]


def test_an_inline_image_without_html_is_an_attachment(mail: MailServer) -> None:
    message = html_message()
    attach_inline_image(message, PNG, mimetype="image/png")
    message.send()
    assert [p.get_content_type() for p in mail.message.message.iter_parts()] == [
        "text/plain",
        "image/png",
    ]


def test_the_message_of_a_subclass_is_not_rearranged(mail: MailServer) -> None:
    class Signed(EmailMultiAlternatives):
        def message(self, **kwargs: Any) -> Any:
            return super().message(**kwargs)

    message = Signed("s", "text", to=["a@example.com"])
    attach_inline_image(message, PNG, mimetype="image/png")
    message.attach_alternative("<b>html</b>", "text/html")
    message.send()
    assert "multipart/related" not in [p.get_content_type() for p in mail.message.message.walk()]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"filename": "terms.pdf"}, "application/pdf"),
        ({}, "give mimetype='image/png'"),
        ({"mimetype": "image/png", "content_id": "a b>c"}, "content_id must be like"),
        ({"mimetype": "image/png", "content_id": "a\nb@c"}, "content_id must be like"),
    ],
)
def test_an_invalid_image_type_or_content_id_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"content_id|type") as caught:
        attach_inline_image(html_message(), PNG, **given)
    assert words in str(caught.value)


# Attachments from files


def test_a_file_is_attached_without_being_read(mail: MailServer, tmp_path: Path) -> None:
    path = tmp_path / "bericht für ada.pdf"
    path.write_bytes(b"old")
    message = html_message()
    message.attach_alternative("<p>html</p>", "text/html")
    attach_path(message, path)
    path.write_bytes(b"%PDF" + bytes(300_000))  # it is read when the message is sent
    assert message.send() == 1

    [pdf] = mail.message.message.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content_type()) == (path.name, "application/pdf")
    assert pdf.get_content() == path.read_bytes()


def test_a_large_attached_file_is_never_in_memory_as_a_whole(use_mail: Use, tmp_path: Path) -> None:
    import tracemalloc

    from django_integration.messages import as_submission
    from django_integration.staging import Staging
    from mailbackends.mime.content import from_message

    path = tmp_path / "large.bin"
    path.write_bytes(bytes(25 * 1024 * 1024))
    tracemalloc.start()
    try:
        message = html_message()
        attach_path(message, path)
        submission = as_submission(message, Staging())
        sent = sum(len(buffer) for buffer in from_message(submission.message).dot_stuffed())  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 34 * 1024 * 1024
    assert peak < 1024 * 1024


def test_the_outbox_accepts_attachments_from_files(use_mail: Use, tmp_path: Path) -> None:
    from django.core import mail as django_mail

    use_mail(backend="django.core.mail.backends.locmem.EmailBackend")
    django_mail.outbox = []
    path = tmp_path / "a.txt"
    path.write_bytes(b"text")
    message = html_message()
    attach_path(message, path)
    message.send()
    [part] = [p for p in django_mail.outbox[0].message().walk() if p.get_filename() == "a.txt"]
    assert part.get_payload(decode=True) == b"text"
