"""A plain message is written byte for byte like the email package's objects."""

from __future__ import annotations

import random
import re
import tracemalloc
from datetime import UTC, datetime
from email.message import Message as Part
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_integration import (
    Attachment,
    Backend,
    Mail,
    MailState,
    Message,
    Posting,
    SmtpBackend,
)
from flask_integration.config import read
from flask_integration.mime import written
from flask_integration.posting import prepare
from flask_integration.rendering import Rendering
from mailbackends import Receipt
from mailbackends.integration import WrittenMessage
from mailbackends.mime import content
from support.server import MailServer

from .conftest import MakeApp

IDENTIFIER = "<179000000025.8017.17468003833799119896@shop.example>"


def state_of(*, is_fast: bool, **config: Any) -> MailState:
    given = {"MAIL_FAST_PATHS": is_fast, "MAIL_DEFAULT_SENDER": "shop@example.com"} | config
    state = MailState(read(given), given)
    assert isinstance(state.backend, SmtpBackend)
    return state


FAST, SLOW = state_of(is_fast=True), state_of(is_fast=False)


def prepared(message: Message, state: MailState) -> Posting:
    random.seed(0)  # the boundaries are made with the same dice
    return prepare(message, state)


def sent(posting: Posting, **how: Any) -> bytes:
    random.seed(0)
    if isinstance(posting.message, WrittenMessage):
        return b"".join(content.from_written(posting.message, **how).chunk())
    assert isinstance(posting.message, Part)
    return b"".join(content.from_message(posting.message, **how).chunk())


def check(message: Message, *, fast: MailState = FAST, slow: MailState = SLOW, **how: Any) -> bool:
    """Both ways give the same, errors too; whether the fast one was taken."""
    message.msgId = IDENTIFIER
    try:
        built = prepared(message, slow)
        expected = sent(built, **how)
    except Exception as fault:
        with pytest.raises(type(fault), match=re.escape(str(fault))):
            sent(prepared(message, fast), **how)
        return False
    taken = prepared(message, fast)
    assert sent(taken, **how) == expected
    for name in ("from_addr", "to_addrs", "mail_options", "rcpt_options", "message_id"):
        assert getattr(taken, name) == getattr(built, name)
    return isinstance(taken.message, WrittenMessage)


# Messages as applications write them: mostly plain, and each kind that is not.
scripts = st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"])
words = st.one_of(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.,:;<>@()\"\\-]{1,12}", fullmatch=True),
    st.text(scripts, min_size=1, max_size=12),
    st.sampled_from(["=?utf-8?q?=41?=", "=?", "?=", "\t", "", " ", "\x0b", "Grüße", "日本語"]),
)
lines = st.lists(words, max_size=14).map(" ".join)
texts = st.one_of(
    st.lists(lines, max_size=14).flatmap(
        lambda rows: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(rows))
    ),
    st.text(max_size=200),
    st.integers(990, 1005).map(lambda size: "x" * size),
    st.integers(990, 1005).map(lambda size: "é" * (size // 2)),
)
local = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\.[a-z0-9_-]{1,8})?", fullmatch=True)
domains = st.one_of(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}(\.[a-z]{2,5}){1,2}", fullmatch=True),
    st.sampled_from(["bücher.example", "localhost", "[192.0.2.1]"]),
)
specs = st.one_of(st.builds("{}@{}".format, local, domains), st.just("grüße@example.com"))
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)
mailboxes = st.one_of(
    specs,
    st.builds("{} <{}>".format, phrases, specs),
    st.builds('"{}" <{}>'.format, st.sampled_from(["Ada, Countess", "Zoë", "a.b"]), specs),
    st.tuples(phrases, specs),
)
names = st.one_of(
    st.none(),
    st.from_regex(r"[A-Za-z0-9._ -]{1,30}", fullmatch=True),
    st.sampled_from(["Rechnung Nr. 7.pdf", "счёт.pdf", 'a"b.pdf', "a;b.pdf", "x" * 90, "a\\b"]),
)
kinds = st.sampled_from(
    [
        *(None, "application/pdf", "image/png", "text/csv", "text/plain; charset=utf-16", "a/b"),
        *("message/rfc822", "message/partial", "multipart/mixed", "x/y; z", "nothing"),
    ]
)
part_headers = st.dictionaries(
    st.sampled_from(["X-A", "Content-ID", "Content-Type", "Content-Transfer-Encoding"]),
    st.one_of(lines, st.just("<logo@shop.example>"), st.just("multipart/mixed")),
    max_size=2,
)
attachments = st.builds(
    Attachment,
    names,
    kinds,
    st.one_of(st.binary(max_size=300), texts),
    st.sampled_from([None, "inline", "attachment"]),
    part_headers,
)
fields = st.dictionaries(
    st.sampled_from(
        [
            *("X-Order", "x-order", "List-Unsubscribe", "Sender", "References", "To", "Bcc"),
            *("Message-ID", "Content-Language", "Reply-To", "Subject", "Date", "Resent-Date"),
        ]
    ),
    st.one_of(lines, st.none(), st.just("one line\r\n and another")),
    max_size=3,
)


plain_files = st.builds(
    Attachment,
    st.from_regex(r"[a-z]{1,60}\.pdf", fullmatch=True),
    st.sampled_from([None, "application/pdf"]),
    st.binary(max_size=300),
    st.sampled_from([None, "inline"]),
    content_id=st.sampled_from([None, "logo@shop.example"]),
)
short = st.lists(st.text(scripts, max_size=20), max_size=8).map("\n".join)
plain_specs = st.from_regex(r"[a-z]{1,6}@[a-z]{1,6}\.com", fullmatch=True)
plain: dict[str, st.SearchStrategy[Any]] = {
    "subject": st.one_of(
        st.from_regex(r"[A-Za-z0-9,.:! -]{1,150}", fullmatch=True), st.just("Für 34 €")
    ),
    "recipients": st.lists(plain_specs, min_size=1, max_size=20),
    "body": short,
    "html": st.one_of(st.none(), short),
    "sender": st.sampled_from(["shop@example.com", ("The Shop", "shop@example.com")]),
    "attachments": st.lists(plain_files, max_size=3),
}
unusual: dict[str, st.SearchStrategy[Any]] = {
    "subject": st.one_of(lines, st.just("folded\r\n\tby hand")),
    "recipients": st.lists(mailboxes, min_size=1, max_size=5),
    "body": texts,
    "html": texts,
    "alts": st.dictionaries(st.sampled_from(["calendar", "text/x; y=z", "a b"]), texts),
    "sender": st.one_of(st.none(), mailboxes),
    "cc": st.lists(mailboxes, max_size=2),
    "bcc": st.lists(mailboxes, max_size=1),
    "reply_to": st.one_of(st.none(), mailboxes, st.lists(mailboxes, max_size=2)),
    "date": st.sampled_from([0, 1.5, 1700000000.9999999, datetime(2025, 5, 5, tzinfo=UTC)]),
    "charset": st.sampled_from(["UTF-8", "latin-1", "no such"]),
    "extra_headers": fields,
    "attachments": st.lists(attachments, max_size=2),
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Plain but for one or two things: all of it unusual would be left to the package always."""
    odd = draw(st.sets(st.sampled_from([*unusual]), max_size=2))
    chosen = plain | {name: unusual[name] for name in odd}
    return Message(**{name: draw(values) for name, values in chosen.items()})


@settings(max_examples=200, deadline=None)
@given(messages(), st.booleans())
def test_any_message_has_the_same_bytes_written_and_built(
    message: Message, allow_8bit: bool
) -> None:
    check(message, allow_8bit=allow_8bit)


@settings(max_examples=150, deadline=None)
@given(st.builds(Message, **plain))
def test_common_messages_are_written(message: Message) -> None:
    assert check(message)


def message(**given: Any) -> Message:
    return Message("Your order", recipients=["ada@example.com"], body="On its way.\n", **given)


@pytest.mark.parametrize(
    "rendering",
    [Rendering(ascii_filenames=True), Rendering(local_time=False), Rendering(charset="latin-1")],
)
def test_the_rendering_of_the_application_is_used(rendering: Rendering) -> None:
    fast, slow = state_of(is_fast=True), state_of(is_fast=False)
    fast.rendering = slow.rendering = rendering
    one = message(attachments=[Attachment("zoë.pdf", data=b"1")])
    assert check(one, fast=fast, slow=slow)


@pytest.mark.parametrize("size", [998, 999])
def test_a_text_with_a_long_line_has_the_same_bytes_written_and_built(size: int) -> None:
    assert check(message(html=f"{'é' * 400}\r{'x' * size}\r\n."))


def test_a_large_file_has_the_same_bytes_written_and_built() -> None:
    assert check(message(attachments=[Attachment("a.bin", data=bytes(range(256)) * 1000)]))


class _Signed(Message):
    def as_email(self, rendering: Rendering | None = None) -> Part:
        made = super().as_email(rendering)
        made["X-Signature"] = "1"
        return made


def test_a_message_that_overrides_as_email_is_built() -> None:
    own = message()
    made = own.as_email()
    own.as_email = lambda rendering=None: made  # type: ignore[method-assign]
    for one in (_Signed("s", ["a@example.com"], "b", sender="b@example.com"), own):
        assert isinstance(prepare(one, FAST).message, Part)
    assert check(type("_Marked", (Message,), {})("s", ["a@example.com"], "b"))


def test_parts_and_files_that_are_objects_have_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    path, part = message(), message(attachments=[MIMEText("x")])
    path.attach_path(tmp_path / "a.txt")
    assert check(path)
    assert check(part)


class _Subclass(SmtpBackend): ...


class _Other(Backend):
    def send(self, posting: Posting) -> Receipt:
        raise NotImplementedError


@pytest.mark.parametrize("backend", [_Subclass, _Other])
def test_a_custom_backend_gets_objects(make_app: MakeApp, backend: type[Backend]) -> None:
    app = make_app(MAIL_BACKEND=backend)
    mail = Mail(app)
    state = app.extensions["mail"]
    assert type(state.backend) is backend
    with app.app_context():
        assert isinstance(prepare(message(), state).message, Part)
    mail.close()


def test_a_host_set_by_the_application_gets_bytes(
    make_app: MakeApp, mail_server: MailServer
) -> None:
    mail = Mail(make_app(MAIL_SERVER=mail_server.host, MAIL_PORT=mail_server.port))
    with mail.connect() as connection:
        connection.host = host = mock.Mock()
        connection.send(message(sender="shop@example.com"))
    content = host.sendmail.call_args.args[2]
    assert b"Subject: Your order\r\n" in content


def test_a_written_message_in_a_file_is_complete(make_app: MakeApp, tmp_path: Path) -> None:
    mail = Mail(make_app(MAIL_BACKEND="file", MAIL_FILE_PATH=str(tmp_path)))
    posting = prepare(message(), FAST)
    assert isinstance(posting.message, WrittenMessage)
    assert mail.state is not None
    mail.state.backend.send(posting)
    [file] = tmp_path.iterdir()
    assert file.read_bytes() == posting.as_bytes()


@pytest.mark.parametrize("is_fast", [True, False])
def test_fast_paths_switches_writing_off(
    make_app: MakeApp, mail_server: MailServer, is_fast: bool
) -> None:
    app = make_app(MAIL_SERVER=mail_server.host, MAIL_PORT=mail_server.port)
    app.config["MAIL_FAST_PATHS"] = is_fast
    mail = Mail(app)
    with mock.patch("flask_integration.posting.written", wraps=written) as asked, app.app_context():
        mail.send(message())
    assert asked.call_count == is_fast
    assert mail_server.message.message["Subject"] == "Your order"


def test_an_attachment_of_25_mb_is_copied_at_most_once() -> None:
    data = bytes(range(256)) * (25 * 4096)
    one = message(attachments=[Attachment("a.bin", data=data)])
    check(message(attachments=[Attachment("a.bin", data=b"1")]))
    tracemalloc.start()
    try:
        taken = prepare(one, FAST)
        assert isinstance(taken.message, WrittenMessage)
        made = content.from_written(taken.message)
        size = sum(map(len, made.dot_stuffed()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > made.size > 34_000_000
    assert peak < 1024 * 1024
