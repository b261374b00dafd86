"""Plain messages are written with the same bytes as Django and the email package produce."""

from __future__ import annotations

import email.policy
import random
import re
import tracemalloc
from email.message import Message, MIMEPart
from email.mime.image import MIMEImage
from email.mime.text import MIMEText
from typing import Any
from unittest import mock

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from django_integration import attach_inline_image, attach_path, fast
from django_integration.compat import HAS_MODERN_EMAIL
from django_integration.messages import as_submission
from django_integration.staging import Staging
from mailbackends import Submission
from mailbackends.integration import WrittenMessage
from mailbackends.mime import content
from support.server import MailServer

NAME = "<179000000025.8017.17468003833799119896@shop.example>"


def submission(message: EmailMessage, *, fast: bool, identifier: str = NAME) -> Submission:
    """With the same Message-ID each time, and the same random boundaries."""
    random.seed(0)
    made = {"return_value": identifier}
    with (
        mock.patch("django.core.mail.message.make_msgid", **made),
        mock.patch("django_integration.fast.make_msgid", **made),
    ):
        return as_submission(message, Staging(), fast=fast)


def sent(one: Submission, **how: Any) -> bytes:
    random.seed(0)
    if isinstance(one.message, WrittenMessage):
        return b"".join(content.from_written(one.message, **how).chunk())
    assert isinstance(one.message, Message)
    return b"".join(content.from_message(one.message, **how).chunk())


def without_date(data: bytes) -> bytes:
    return re.sub(rb"(?m)^Date: .*\r\n", b"Date: now\r\n", data, count=1)


def check(message: EmailMessage, *, must_be_fast: bool = False, **how: Any) -> bool:
    """Compare both ways, errors too; returns whether the message was written."""
    try:
        slow = submission(message, fast=False, **how)
        expected = without_date(sent(slow))
    except Exception as fault:
        with pytest.raises(type(fault), match=re.escape(str(fault))):
            sent(submission(message, fast=True, **how))
        return False
    taken = submission(message, fast=True, **how)
    assert without_date(sent(taken)) == expected
    assert (taken.from_addr, taken.to_addrs) == (slow.from_addr, slow.to_addrs)
    if must_be_fast:
        assert isinstance(taken.message, WrittenMessage)
    return isinstance(taken.message, WrittenMessage)


# Messages as applications write them: mostly plain, and each kind that is not.
scripts = st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"])
words = st.one_of(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.,:;<>@()\"\\-]{1,12}", fullmatch=True),
    st.text(scripts, min_size=1, max_size=12),
    st.sampled_from(["=?utf-8?q?=41?=", "=?", "?=", "\t", "", " ", "Grüße", "日本語", "€"]),
)
lines = st.lists(words, max_size=14).map(" ".join)
texts = st.one_of(
    st.lists(lines, max_size=14).flatmap(
        lambda rows: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(rows))
    ),
    st.text(max_size=200),
    st.integers(70, 90).map(lambda size: "x" * size),
    st.integers(70, 90).map(lambda size: "é" * (size // 2)),
)
# A text with NUL is encoded as base64, and built.
usual_texts = texts.map(lambda text: text.replace("\0", ""))
local = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\.[a-z0-9_-]{1,8})?", fullmatch=True)
domains = st.one_of(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}(\.[a-z]{2,5}){1,2}", fullmatch=True),
    st.sampled_from(["bücher.example", "localhost", "[192.0.2.1]"]),
)
specs = st.builds("{}@{}".format, local, domains)
mailboxes = st.one_of(
    specs,
    st.builds("{} <{}>".format, st.lists(words, min_size=1, max_size=4).map(" ".join), specs),
    st.builds('"{}" <{}>'.format, st.sampled_from(["Ada, Countess", "Zoë", "a.b"]), specs),
)
names = st.one_of(
    st.from_regex(r"[A-Za-z0-9._ -]{1,30}", fullmatch=True),
    st.sampled_from(["Rechnung Nr. 7.pdf", "счёт.pdf", 'a"b.pdf', "a;b.pdf", "x" * 90, "a\\b"]),
)
kinds = st.sampled_from(["application/pdf", "image/png", "text/csv", "text/plain", "a/b", "x/y; z"])
fields = st.dictionaries(
    st.sampled_from(
        [
            *("X-Order", "List-Unsubscribe", "Auto-Submitted", "Sender", "References", "To"),
            *("Message-ID", "Content-Language", "X-Ä", "x-a:", "Reply-To", "Subject", "Date"),
        ]
    ),
    lines,
    max_size=3,
)


@st.composite
def messages(draw: st.DrawFn) -> EmailMessage:
    message = EmailMultiAlternatives(
        draw(lines),
        draw(texts),
        draw(mailboxes),
        draw(st.lists(mailboxes, min_size=1, max_size=4)),
        cc=draw(st.lists(mailboxes, max_size=2)),
        reply_to=draw(st.lists(mailboxes, max_size=1)),
        headers=draw(fields),
    )
    message.content_subtype = draw(st.sampled_from(["plain", "plain", "html"]))
    for text in draw(st.lists(texts, max_size=2)):
        message.attach_alternative(text, draw(st.sampled_from(["text/html", "text/calendar"])))
    for name in draw(st.lists(names, max_size=2)):
        content = draw(st.one_of(st.binary(max_size=300), texts.map(str.encode)))
        message.attach(name, content, draw(kinds))
    return message


@settings(max_examples=150, deadline=None)
@given(messages())
def test_written_messages_have_the_bytes_of_built_messages(message: EmailMessage) -> None:
    check(message)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        EmailMultiAlternatives,
        st.from_regex(r"[A-Za-z0-9,.:!-]{1,9}( [A-Za-z0-9,.:!-]{1,9}){0,6}", fullmatch=True),
        usual_texts,
        st.sampled_from(["shop@example.com", "The Shop <shop@example.com>"]),
        st.lists(st.from_regex(r"[a-z]{1,6}@[a-z]{1,6}\.com", fullmatch=True), min_size=1),
        alternatives=st.lists(st.tuples(usual_texts, st.just("text/html")), max_size=2),
        attachments=st.lists(
            st.tuples(
                st.from_regex(r"[a-z]{1,60}\.pdf", fullmatch=True),
                st.binary(max_size=300),
                st.just("application/pdf"),
            ),
            max_size=2,
        ),
    )
)
def test_common_messages_are_written(message: EmailMessage) -> None:
    check(message, must_be_fast=True)


def message(**given: Any) -> EmailMultiAlternatives:
    given = {"to": ["Ada <ada@example.com>"], "from_email": "shop@example.com"} | given
    return EmailMultiAlternatives("Your order", "It is on its way.\n", **given)


def test_a_message_built_for_a_7bit_server_keeps_its_message_id() -> None:
    one = message()
    one.body = "Grüße\n"
    taken = submission(one, fast=True)
    assert isinstance(taken.message, WrittenMessage)
    slow = sent(submission(one, fast=False), allow_8bit=False)
    assert without_date(sent(taken, allow_8bit=False)) == without_date(slow)
    assert (taken.message.message_id or "").encode() in slow


class _Signed(EmailMultiAlternatives):
    def message(self, **given: Any) -> Any:
        made = super().message(**given)
        made["X-Signature"] = "1"
        return made


class _InLatin(EmailMessage):
    encoding = "iso-8859-1"


class _Marked(EmailMessage):
    shop = "tea"


def test_a_message_with_its_own_method_or_charset_is_built() -> None:
    own = message()
    own.message = own.message  # type: ignore[method-assign]
    latin = message()
    latin.encoding = "iso-8859-1"
    for one in (_Signed("s", "b", None, ["a@example.com"]), _InLatin("s", "é"), own, latin):
        one.to = ["a@example.com"]
        assert not check(one)


def test_a_subclass_that_keeps_djangos_methods_is_written() -> None:
    assert check(_Marked("s", "b", None, ["a@example.com"]), must_be_fast=True)


def test_messages_are_built_if_djangos_methods_are_patched() -> None:
    def patched(self: EmailMessage, msg: Any, header: str, values: Any) -> None:
        msg[header] = "patched <a@example.com>"

    with mock.patch.object(EmailMessage, "_set_list_header_if_not_empty", patched):
        one = submission(message(), fast=True)
        assert isinstance(one.message, Message)
        assert one.message["Cc"] == "patched <a@example.com>"


def test_attached_objects_and_files_are_written(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("a" * 70)
    path, part, legacy = message(), message(), message()
    attach_path(path, tmp_path / "a.txt")
    mime = MIMEPart(policy=email.policy.default) if HAS_MODERN_EMAIL else MIMEText("x")
    if isinstance(mime, MIMEPart):
        mime.set_content("x")
    part.attach(mime)  # type: ignore[arg-type]
    legacy.attachments.append(MIMEImage(b"1" * 100, "png"))
    for one in (path, part, legacy):
        check(one, must_be_fast=True)


def test_inline_images_are_built() -> None:
    image = message()
    url = attach_inline_image(image, b"1", filename="a.png")
    image.attach_alternative(f"<img src='{url}'>", "text/html")
    assert isinstance(submission(image, fast=True).message, Message)


def test_the_date_is_in_local_time_if_the_setting_says_so() -> None:
    with override_settings(EMAIL_USE_LOCALTIME=True, TIME_ZONE="Asia/Kolkata", USE_TZ=True):
        assert b" +0530\r\n" in sent(submission(message(), fast=True))
    # Django 5.2 writes the zone of RFC 5322 for a time without one.
    zone = b" +0000\r\n" if HAS_MODERN_EMAIL else b" -0000\r\n"
    assert zone in sent(submission(message(), fast=True))


@pytest.mark.parametrize("size", [10, 25, 26, 27, 28, 40, 62])
def test_a_long_name_of_the_host_folds_the_message_id_alike(size: int) -> None:
    identifier = f"<179000000025.8017.17468003833799119896@{'h' * size}>"
    assert check(message(), must_be_fast=True, identifier=identifier)


@pytest.mark.parametrize("is_fast", [True, False])
def test_fast_paths_false_builds_all_messages(
    server: MailServer, use_mail: Any, is_fast: bool
) -> None:
    use_mail(host=server.host, port=server.port, fast_paths=is_fast)
    with (
        mock.patch.object(fast, "written", wraps=fast.written),
        mock.patch("django_integration.messages.written", wraps=fast.written) as asked,
    ):
        message().send()
    assert asked.call_count == is_fast
    assert server.message.message["Subject"] == "Your order"


def test_an_attachment_of_25_mb_takes_one_more_at_most() -> None:
    data = bytes(range(256)) * (25 * 4096)
    one = message(attachments=[("a.bin", data, "application/octet-stream")])
    message(attachments=[("a.bin", b"1", "application/octet-stream")]).message()
    tracemalloc.start()
    try:
        taken = as_submission(one, Staging(), fast=True)
        assert isinstance(taken.message, WrittenMessage)
        made = content.from_written(taken.message)
        size = sum(map(len, made.dot_stuffed()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > made.size > 34_000_000
    assert peak < 1024 * 1024
