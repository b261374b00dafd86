"""The option ``auto_submitted`` marks messages as automatic, before they are signed."""

from __future__ import annotations

import os
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbackends import ConfigurationError, FileAttachment, Mailer
from support.dkim import FORMS, key_for, records, verify
from support.sink import Sink


def message(**fields: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.net", "Your order"
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    made.set_content("Hé\n")
    return made


@pytest.mark.parametrize("word", ["auto-generated", "auto-replied"])
def test_a_message_is_marked(word: str) -> None:
    with Sink() as sink, Mailer(sink.url, auto_submitted=word) as mailer:
        mailer.send_message(message())
        parsed = sink.message.message
        assert f"SIZE={len(sink.message.content)}" in sink.message.mail_options
    assert parsed.get_all("Auto-Submitted") == [word]
    assert parsed.get_all("X-Auto-Response-Suppress") == ["All"]


def test_a_message_with_the_fields_keeps_them() -> None:
    with Sink() as sink, Mailer(sink.url, auto_submitted="auto-generated") as mailer:
        mailer.send_message(message(auto_submitted="no"))
        mailer.send_message(message(X_Auto_Response_Suppress="OOF"))
        first, second = (each.message for each in sink.messages)
    assert first.get_all("Auto-Submitted") == ["no"]
    assert first["X-Auto-Response-Suppress"] is None
    assert second.get_all("X-Auto-Response-Suppress") == ["OOF"]


def test_what_somebody_has_signed_is_not_changed() -> None:
    content = b"DKIM-Signature: v=1\r\nFrom: a@example.org\r\n\r\nx\r\n"
    with Sink() as sink, Mailer(sink.url, auto_submitted="auto-generated") as mailer:
        mailer.send_message(content, "a@example.org", "b@example.net")
        assert sink.message.content == content


@pytest.mark.parametrize("size", [0, 300_000])
@pytest.mark.parametrize("form", FORMS)
def test_the_marks_are_covered_by_a_signature(size: int, form: str, tmp_path: Path) -> None:
    key = key_for(canonicalization=form)
    made = message()
    if size:
        (tmp_path / "a.bin").write_bytes(os.urandom(size))
        made.make_mixed()
        made.attach(FileAttachment(tmp_path / "a.bin"))  # type: ignore[arg-type]
    with Sink() as sink, Mailer(sink.url, auto_submitted="auto-generated", dkim=key) as mailer:
        mailer.send_message(made)
        content = sink.message.content
    assert content.startswith(b"DKIM-Signature:")
    assert verify(content, records(key)) == [True]
    assert verify(content.replace(b"auto-gen", b"auto-rep"), records(key)) == [False]


def test_large_bytes_are_marked_and_signed() -> None:
    key = key_for()
    content = b"From: a@example.com\r\n\r\n" + b"x y \r\n" * 50_000
    with Sink() as sink, Mailer(sink.url, auto_submitted="auto-generated", dkim=key) as mailer:
        mailer.send_message(content, "a@example.com", "b@example.net")
        assert verify(sink.message.content, records(key)) == [True]
        assert sink.message.content.endswith(content)


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="auto_submitted must be one of"):
        Mailer(auto_submitted="yes")
