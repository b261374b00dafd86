"""`FileAttachment`: a file that is read while it is sent, and not before."""

from __future__ import annotations

import copy
import email
import email.policy
import itertools
import tracemalloc
from email.generator import BytesGenerator
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mailbackends import FileAttachment, InvalidMessageError, Mailer
from mailbackends.mime.content import from_message
from support.server import MailServer

MiB = 1024 * 1024


def message(*attachments: FileAttachment) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", "s"
    made.set_content("text\n")
    made.make_mixed(boundary="=====boundary=====")
    for attachment in attachments:
        made.attach(attachment)
    return made


def wire(made: EmailMessage) -> bytes:
    return b"".join(from_message(made).chunk())


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 57 * 1024, 57 * 1024 + 1, 200_000])
def test_a_file_is_written_byte_for_byte_as_the_email_package_writes_it(
    tmp_path: Path, size: int
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    made = message(FileAttachment(path))
    content = from_message(made)
    written = b"".join(content.chunk())

    assert content.size == len(written)
    buffer = BytesIO()
    policy = made.policy.clone(linesep="\r\n")
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(made)
    assert written == buffer.getvalue()
    parsed = email.message_from_bytes(written, policy=email.policy.default)
    [part] = parsed.iter_attachments()
    assert part.get_content() == path.read_bytes()
    assert part.get_filename() == "data.bin"


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"\x00" * (25 * MiB))
    made = message(FileAttachment(path))
    tracemalloc.start()
    try:
        sent = 0
        for buffer in from_message(made).dot_stuffed():
            sent += len(buffer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 34 * MiB
    assert peak < MiB


def test_a_file_arrives_at_a_server(tmp_path: Path) -> None:
    path = tmp_path / "bericht größe.pdf"
    path.write_bytes(b"%PDF" + bytes(500_000))
    with MailServer() as server, Mailer(server.url) as mailer:
        for _ in range(2):  # a message may be sent again
            mailer.send_message(message(FileAttachment(path)))
        for received in server.messages:
            [part] = received.message.iter_attachments()
            assert part.get_filename() == "bericht größe.pdf"
            assert part.get_content_type() == "application/pdf"
            assert part.get_content() == path.read_bytes()
        assert server.connections == 1


def test_a_file_that_becomes_shorter_breaks_the_message_off(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(3 * MiB))
    content = from_message(message(FileAttachment(path)))
    path.write_bytes(bytes(MiB))
    with pytest.raises(InvalidMessageError, match="became shorter"):
        list(content.chunk())


def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(100_000))
    content = from_message(message(FileAttachment(path)))
    path.write_bytes(bytes(200_000))
    assert sum(map(len, content.chunk())) == content.size


def test_a_file_that_is_gone_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x")
    made = message(FileAttachment(path))
    path.unlink()
    with MailServer() as server, Mailer(server.url) as mailer:
        with pytest.raises(InvalidMessageError, match="cannot be read"):
            mailer.send_message(made)
        assert not any(line.startswith("MAIL") for line in itertools.chain(*server.commands))


def test_a_file_that_shrinks_while_it_is_sent_closes_the_connection(tmp_path: Path) -> None:
    """The announced size is not reached: what follows would be taken for content."""
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(MiB))

    class Shrinking(FileAttachment):
        def encoded(self) -> Any:
            body = super().encoded()
            path.write_bytes(b"short")
            return body

    with MailServer() as server, Mailer(server.url) as mailer:
        with pytest.raises(InvalidMessageError) as caught:
            mailer.send_message(message(Shrinking(path)))
        assert caught.value.outcome == "not_sent"
        server.wait(lambda: server.open_connections == 0)
        assert server.messages == []
        mailer.send_message(message())
        assert len(server.messages) == 1


def test_a_file_attachment_reads_and_copies_like_any_part(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\x00\x01")
    part = copy.deepcopy(FileAttachment(path, filename="x.bin", mimetype="image/x-own"))
    assert part.get_content() == b"\x00\x01"
    assert part.get_payload(decode=True) == b"\x00\x01"
    assert (part.get_filename(), part.get_content_type()) == ("x.bin", "image/x-own")
    assert not part.is_multipart()
    with pytest.raises(TypeError, match="comes from its file"):
        part.set_payload("other")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mimetype": "pdf"}, "got 'pdf'"),
        ({"mimetype": "multipart/mixed"}, "multipart/mixed"),
        ({"filename": "a\nb"}, "line break"),
    ],
)
def test_invalid_arguments_are_named_in_the_error(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"line break|MIME type of a file") as caught:
        FileAttachment(path, **given)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_a_missing_file_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileAttachment(tmp_path / "nowhere.bin")
