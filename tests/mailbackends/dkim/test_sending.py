"""A `Mailer` with keys signs the bytes that the server gets, whatever the way and the message."""

from __future__ import annotations

import asyncio
import os
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest

from mailbackends import (
    DKIM,
    AsyncMailer,
    FileAttachment,
    InvalidMessageError,
    Mailer,
    Outcome,
    SigningError,
    Submission,
)
from support.dkim import ALGORITHMS, FORMS, RSA, key_for, pem_of, records, verify
from support.sink import EXTENSIONS, Sink

SEVEN_BIT = ("PIPELINING", "CHUNKING", "SMTPUTF8")
BY_DATA = ("8BITMIME",)


def message(text: str = "Hé, Ada\n.\n..dots\n  spaces  \n\n\n", **fields: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Ädä <shop@example.com>"
    made["To"] = "Ada <ada@example.net>"
    made["Subject"] = "Your  order from the café at the end of the universe, which is further away"
    made["Message-ID"] = "<1@example.com>"
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    made.set_content(text, cte="8bit")
    return made


def sent(key: Any, made: Any, *extensions: str, **more: Any) -> bytes:
    with Sink(extensions=extensions or EXTENSIONS) as sink, Mailer(sink.url, dkim=key) as mailer:
        mailer.send_message(made, **more)
        return sink.message.content


def signed_names(content: bytes) -> list[str]:
    value = content.partition(b"h=")[2].partition(b";")[0]
    return b"".join(value.split()).decode("ascii").split(":")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("extensions", [EXTENSIONS, SEVEN_BIT, BY_DATA])
def test_the_signature_verifies_on_the_bytes_that_arrive(
    algorithm: str, form: str, extensions: tuple[str, ...]
) -> None:
    key = key_for(algorithm=algorithm, canonicalization=form)
    content = sent(key, message(), *extensions)
    assert verify(content, records(key)) == [True]
    assert b"base64" in content if extensions is SEVEN_BIT else b"8bit" in content
    assert b" l=" not in content.partition(b"\r\n\r\n")[0]


def test_the_unsubscribe_fields_are_covered_also_where_the_message_has_none() -> None:
    names = signed_names(sent(key_for(), message()))
    assert names.count("list-unsubscribe") == names.count("list-unsubscribe-post") == 1
    assert names.count("from") == 2

    names = signed_names(
        sent(
            key_for(),
            message(
                List_Unsubscribe="<https://example.com/u>",
                List_Unsubscribe_Post="List-Unsubscribe=One-Click",
            ),
        )
    )
    assert names.count("list-unsubscribe") == names.count("list-unsubscribe-post") == 2


@pytest.mark.parametrize("name", ["From", "Subject", "To", "List-Unsubscribe", "Reply-To"])
def test_a_field_that_is_added_on_the_way_breaks_the_signature(name: str) -> None:
    key = key_for()
    content = sent(key, message())
    added = f"{name}: <mallory@example.org>\r\n".encode() + content
    assert verify(added, records(key)) == [False]


def test_resent_fields_are_covered_and_further_ones_may_be_put_before_them() -> None:
    key = key_for()
    content = sent(
        key,
        message(Resent_From="shop@example.com", Resent_To="bob@example.net"),
        to_addrs="bob@example.net",
    )
    assert {"resent-from", "resent-to"} <= set(signed_names(content))
    assert verify(content, records(key)) == [True]
    assert verify(b"Resent-From: x@example.org\r\n" + content, records(key)) == [True]


def test_a_message_of_bytes_is_signed_and_otherwise_unchanged() -> None:
    key = key_for()
    data = b"From: a@example.com\r\nSubject: x \t\r\n y\r\n\r\n.\r\n\r\ntext  \r\n\r\n\r\n"
    content = sent(key, data, from_addr="a@example.com", to_addrs="b@example.net")
    assert content.endswith(b"\r\n" + data)
    assert verify(content, records(key)) == [True]


@pytest.mark.parametrize("data", [b"From: a@example.com\r\n", b"From: a@example.com\n\n"])
def test_a_message_without_a_body_is_signed(data: bytes) -> None:
    key = key_for()
    content = sent(key, data, from_addr="a@example.com", to_addrs="b@example.net")
    assert verify(content, records(key)) == [True]


def test_a_legacy_message_is_signed() -> None:
    made = MIMEText("Grüße\n", "plain", "utf-8")
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.net", "Grüße"
    key = key_for()
    assert verify(sent(key, made), records(key)) == [True]


def test_an_international_sender_is_signed_by_the_key_of_its_domain_in_ascii() -> None:
    key = key_for("xn--bcher-kva.example")
    made: Message = message()
    del made["From"]
    made["From"] = "grüße@bücher.example"
    content = sent(key, made)
    assert "grüße@".encode() in content
    assert verify(content, records(key)) == [True]


def test_several_keys_sign_each_and_all_verify() -> None:
    keys = [key_for(selector="r"), key_for(selector="e", algorithm=ALGORITHMS[1])]
    content = sent(keys, message())
    assert verify(content, records(*keys)) == [True, True]


def test_each_sender_domain_has_its_key(caplog: pytest.LogCaptureFixture) -> None:
    keys = [
        key_for("example.com", "a"),
        key_for("news.example.com", "b", number=1),
        key_for("example.org", "c", senders=("*.example.net",)),
    ]
    with Sink() as sink, Mailer(sink.url, dkim=keys) as mailer:
        for sender in (
            "x@example.com", "x@EXAMPLE.com", "x@eu.example.com", "x@news.example.com",
            "x@de.news.example.com", '"a@b" <x@mail.example.net>', "x@badexample.com",
            "x@other.test", "x@other.test",
        ):  # fmt: skip
            made = message()
            made.replace_header("From", sender)
            mailer.send_message(made)
        found = [each.content.partition(b"s=")[2][:1] for each in sink.messages]
        signed = [each.content.startswith(b"DKIM") for each in sink.messages]
    assert signed == [True] * 6 + [False] * 3
    assert found[:6] == [b"a", b"a", b"a", b"b", b"b", b"c"]
    warned = [each.getMessage() for each in caplog.records if "without a DKIM" in each.message]
    assert len(warned) == 2
    assert "other.test" in warned[1]


def test_a_key_for_all_senders_signs_in_addition() -> None:
    keys = [key_for(), key_for("esp.test", "all", number=1, senders="*")]
    assert len(verify(sent(keys, message()), records(*keys))) == 2


def test_mail_that_somebody_else_wrote_is_signed_for_who_sends_it_again() -> None:
    made = message(Resent_From="shop@example.com", Resent_To="b@example.net")
    made.replace_header("From", "someone@example.org")
    key = key_for()
    assert verify(sent(key, made, to_addrs="b@example.net"), records(key)) == [True]


@pytest.mark.parametrize("extensions", [EXTENSIONS, BY_DATA])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_hashed_and_then_sent(
    tmp_path: Path, form: str, extensions: tuple[str, ...]
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(300_000))
    made = message()
    made.make_mixed()
    made.attach(FileAttachment(path))
    key = key_for(canonicalization=form)
    assert verify(sent(key, made, *extensions), records(key)) == [True]


@pytest.mark.parametrize("size", [300_000, 1000])
@pytest.mark.parametrize("extensions", [EXTENSIONS, BY_DATA])
def test_a_file_that_changed_after_it_was_signed_is_an_error_and_not_sent(
    tmp_path: Path, extensions: tuple[str, ...], size: int
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"a" * size)

    def change(digest: bytes) -> bytes:
        path.write_bytes(b"a" * (size - 1) + b"b")
        return key_for().signing_key.sign(digest)

    made = message()
    made.make_mixed()
    made.attach(FileAttachment(path))
    key = DKIM(domain="example.com", selector="s1", sign=change)
    with Sink(extensions=extensions) as sink, Mailer(sink.url, dkim=key) as mailer:
        with pytest.raises(
            InvalidMessageError, match=r"data\.bin changed after it was signed"
        ) as e:
            mailer.send_message(made)
        assert e.value.outcome is Outcome.NOT_SENT
        assert sink.messages == []


def test_a_callable_signs_in_place_of_a_key() -> None:
    key = key_for()
    made_by = DKIM(domain="example.com", selector="s1", sign=key.signing_key.sign)
    assert verify(sent(made_by, message()), records(key)) == [True]


def test_a_callable_may_return_the_key_at_the_first_message() -> None:
    calls: list[int] = []

    def fetch() -> str:
        calls.append(1)
        return pem_of(RSA, 0).reveal()

    key = DKIM(domain="example.com", selector="s1", key=fetch)
    assert calls == []
    with Sink() as sink, Mailer(sink.url, dkim=key) as mailer:
        mailer.send_message(message())
        mailer.send_message(message())
        assert verify(sink.messages[1].content, records(key_for())) == [True]
    assert calls == [1]


@pytest.mark.parametrize("name", ["key", "sign"])
def test_a_callable_that_fails_is_an_error_that_may_pass(name: str) -> None:
    def fail(*args: bytes) -> bytes:
        raise ConnectionError("the service is away")

    key = DKIM(domain="example.com", selector="s1", **{name: fail})
    with Sink() as sink, Mailer(sink.url, dkim=key) as mailer:
        with pytest.raises(
            SigningError, match=r"s1\._domainkey\.example\.com.*ConnectionError"
        ) as e:
            mailer.send_message(message())
        assert e.value.is_transient
        assert e.value.outcome is Outcome.NOT_SENT
        assert isinstance(e.value.__cause__, ConnectionError)
        assert sink.messages == []
        assert mailer.stats().servers[0].circuit == "closed"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n", "has 2 From fields"),
        (b"Sender: a@example.com\r\n\r\n", "has no From field"),
        (b"From: a@example.com\r\nnonsense\r\n\r\n", "nonsense.*is not a header field"),
    ],
)
def test_a_header_that_no_signature_can_cover_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidMessageError, match=words):
        sent(key_for(), data, from_addr="a@example.com", to_addrs="b@example.net")


def test_a_malformed_message_of_a_foreign_domain_goes_as_it_is() -> None:
    data = b">From nowhere\r\nFrom: a@example.org\r\n\r\nx\r\n"
    content = sent(key_for(), data, from_addr="a@example.org", to_addrs="b@example.net")
    assert content == data


def test_the_size_that_is_announced_includes_the_signature() -> None:
    with Sink() as sink, Mailer(sink.url, dkim=key_for()) as mailer:
        mailer.send_message(message())
        assert f"SIZE={len(sink.message.content)}" in sink.message.mail_options


def test_a_batch_in_flight_is_signed() -> None:
    key = key_for()
    with Sink() as sink, Mailer(sink.url, dkim=key, batch_pipeline=4) as mailer:
        mailer.send_messages([message() for _ in range(6)])
        assert [verify(each.content, records(key)) for each in sink.messages] == [[True]] * 6


@pytest.mark.parametrize("is_local", [True, False])
def test_an_event_loop_signs_too(is_local: bool) -> None:
    key = key_for()
    used = key
    if not is_local:
        used = DKIM(domain="example.com", selector="s1", sign=key.signing_key.sign)

    async def send() -> None:
        async with AsyncMailer(sink.url, dkim=used) as mailer:
            await mailer.send_message(message())

    with Sink() as sink:
        asyncio.run(send())
        assert verify(sink.message.content, records(key)) == [True]


def test_the_next_server_gets_a_signature_for_its_own_form() -> None:
    key = key_for()
    with Sink() as first, Sink(extensions=SEVEN_BIT) as second:
        first.refuse_content("451 4.3.0 later")
        with Mailer([first.url, second.url], dkim=key) as mailer:
            mailer.send_message(message())
        assert b"base64" in second.message.content
        assert verify(second.message.content, records(key)) == [True]


def test_a_signed_message_needs_no_more_round_trips() -> None:
    with Sink() as sink, Mailer(sink.url, dkim=key_for()) as mailer:
        mailer.send_message(message())
        mailer.send_message(message())
        mailer.send_message(message())
        sink.wait(lambda: len(sink.messages) == 3)
        # EHLO, the two of the first message, and one for each of the others.
        assert len(sink.flights[0]) == 5


def test_a_submission_is_signed() -> None:
    key = key_for()
    with Sink() as sink, Mailer(sink.url, dkim=key) as mailer:
        mailer.send_messages([Submission(message(), to_addrs=["x@example.net"])])
        assert verify(sink.message.content, records(key)) == [True]
