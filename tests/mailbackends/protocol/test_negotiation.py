"""What a message needs and what the server offers."""

from email.message import EmailMessage, Message

import pytest

from mailbackends.errors import (
    InvalidMessageError,
    Outcome,
    SMTPDataError,
    SMTPNotSupportedError,
)
from mailbackends.mime import content as contents
from mailbackends.mime.writer import WrittenMessage
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.negotiation import prepare

NONE = Extensions()
ALL = Extensions({"SIZE": "", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "REQUIRETLS": ""})
ONE = Envelope("me@x.example", ("you@x.example",))


def letter(text="hi\n", kind=EmailMessage, **fields):
    made = kind()
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    if isinstance(made, EmailMessage):
        made.set_content(text, cte=None if text.isascii() else "8bit")
    else:
        made.set_payload(text, "utf-8" if not text.isascii() else None)
    return made


def parameters(message=b"hi\r\n", envelope=ONE, extensions=ALL, **options):
    return prepare(message, envelope, extensions, **options).envelope.mail_parameters


def test_a_server_without_extensions_gets_no_parameters():
    assert parameters(extensions=NONE) == ()


def test_the_size_is_declared_if_the_server_announces_size():
    assert parameters(extensions=Extensions({"SIZE": ""})) == ("SIZE=4",)


def test_a_message_written_beforehand_is_sent_as_it_is_to_a_server_that_takes_it():
    written = WrittenMessage(("Subject: hi\r\n\r\nü\r\n".encode(),), None, letter)
    prepared = prepare(written, ONE, Extensions({"8BITMIME": ""}))
    assert b"".join(prepared.content.chunk()) == "Subject: hi\r\n\r\nü\r\n".encode()
    assert prepared.envelope.mail_parameters == ("BODY=8BITMIME",)


def test_8bitmime_is_requested_only_if_needed():
    assert parameters() == ("SIZE=4",)
    assert parameters("ü\r\n".encode()) == ("SIZE=4", "BODY=8BITMIME")
    # It can be neither declared nor changed.
    assert parameters("ü\r\n".encode(), extensions=NONE) == ()


def test_a_message_is_encoded_for_a_server_without_8bitmime():
    made = letter("Grüße\n")
    assert "BODY=8BITMIME" in parameters(made)
    prepared = prepare(made, ONE, NONE)
    assert prepared.content.is_8bit is False


@pytest.mark.parametrize(
    "envelope",
    [Envelope("jörg@x.example", ("a@x.example",)), Envelope("", ("jörg@bücher.example",))],
)
def test_smtputf8_is_requested_only_if_a_local_part_is_not_ascii(envelope):
    assert "SMTPUTF8" in parameters(envelope=envelope)
    with pytest.raises(SMTPNotSupportedError, match="SMTPUTF8 capability") as caught:
        prepare(b"hi", envelope, NONE)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_international_domains_need_nothing():
    assert parameters(envelope=Envelope("a@bücher.example", ("b@bücher.example",))) == ("SIZE=4",)


@pytest.mark.parametrize("kind", [EmailMessage, Message])
def test_smtputf8_is_requested_if_a_field_contains_such_an_address(kind):
    made = letter(kind=kind, Reply_To="jörg@x.example")
    prepared = prepare(made, ONE, ALL)
    assert "SMTPUTF8" in prepared.envelope.mail_parameters
    assert "Reply-To: jörg@x.example\r\n".encode() in b"".join(prepared.content.chunk())
    with pytest.raises(SMTPNotSupportedError, match="address in the Reply-To field") as caught:
        prepare(made, ONE, NONE)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_smtputf8_requested_by_the_caller_is_sent_once():
    envelope = Envelope("me@x.example", ("you@x.example",), ("SMTPUTF8",))
    prepared = prepare(letter(Subject="Grüße"), envelope, ALL)
    assert prepared.envelope.mail_parameters.count("SMTPUTF8") == 1
    assert "Subject: Grüße\r\n".encode() in b"".join(prepared.content.chunk())


@pytest.mark.parametrize("given", ["SIZE=99", "size=99", "BODY=8BITMIME"])
def test_parameters_of_the_caller_are_kept_and_not_repeated(given):
    envelope = Envelope("me@x.example", ("you@x.example",), (given,))
    found = parameters("ü\r\n".encode(), envelope)
    assert found[-1] == given
    keywords = [parameter.partition("=")[0].upper() for parameter in found]
    assert sorted(keywords) == ["BODY", "SIZE"]


def test_7bit_requested_by_the_caller_is_applied():
    envelope = Envelope("me@x.example", ("you@x.example",), ("BODY=7bit",))
    prepared = prepare(letter("Grüße\n"), envelope, ALL)
    assert prepared.content.is_8bit is False
    with pytest.raises(InvalidMessageError, match="leave BODY out"):
        prepare("ü".encode(), envelope, ALL)


def test_a_content_larger_than_the_server_takes_is_refused_before_it_is_sent():
    extensions = Extensions({"SIZE": "10"})
    prepare(b"12345678\r\n", ONE, extensions)
    with pytest.raises(SMTPDataError) as caught:
        prepare(b"123456789\r\n", ONE, extensions)
    assert (caught.value.smtp_code, caught.value.outcome) == (552, Outcome.REFUSED)
    assert "the content has 11 bytes" in str(caught.value)
    assert not caught.value.is_transient


def test_parameters_of_mail_and_rcpt_need_their_extensions():
    for envelope in (
        Envelope("", ("a@x.example",), ("RET=FULL",)),
        Envelope("", ("a@x.example",), (), ("NOTIFY=NEVER",)),
    ):
        prepare(b"hi", envelope, ALL)
        with pytest.raises(SMTPNotSupportedError, match="does not announce DSN"):
            prepare(b"hi", envelope, NONE)


def test_require_tls_needs_tls():
    envelope = Envelope("", ("a@x.example",), ("REQUIRETLS",))
    assert "REQUIRETLS" in parameters(envelope=envelope, is_tls=True)
    with pytest.raises(SMTPNotSupportedError, match="no TLS"):
        prepare(b"hi", envelope, ALL)


def test_an_original_recipient_requires_a_single_recipient():
    orcpt = ("ORCPT=rfc822;c@x.example",)
    prepare(b"hi", Envelope("", ("a@x.example",), (), orcpt), ALL)
    with pytest.raises(InvalidMessageError, match="ORCPT names one original recipient"):
        prepare(b"hi", Envelope("", ("a@x.example", "b@x.example"), (), orcpt), ALL)


def test_the_content_is_signed_last_in_the_form_that_this_server_gets():
    seen = []

    def sign(content):
        seen.append(b"".join(content.chunk()))
        return contents.from_bytes(b"DKIM-Signature: v=1\r\n" + seen[-1])

    prepared = prepare(letter("Grüße\n", Subject="hi"), ONE, NONE, sign=sign)
    assert seen[0].isascii()
    assert b"".join(prepared.content.chunk()) == b"DKIM-Signature: v=1\r\n" + seen[0]
