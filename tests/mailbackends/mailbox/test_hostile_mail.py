"""Mail made to break its reader: every page still answers, and the work is bounded."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends.mailbox import Mailbox, markup
from mailbackends.mailbox.message import StoredMessage
from mailbackends.previews import Previews
from support.mailbox import ask, put

VIEWS = ("html", "text", "headers", "links", "source", "receipt", "notes")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    box = Mailbox(previews=Previews())
    yield box
    box.close()


def check_every_page(box: Mailbox, content: bytes) -> None:
    number = put(box, content)
    paths = [f"messages/{number}/?view={view}" for view in VIEWS]
    paths += [f"messages/{number}/{end}" for end in ("frame", "frame?remote=1", "raw")]
    paths += [f"messages/{number}/parts/0", f"messages/{number}/parts/0?open=1"]
    for path in ("", "list?q=a", "api/messages", f"api/messages/{number}", *paths):
        response = ask(box, path)
        assert response.status in (200, 404), path
        assert response.status == 200 or "/parts/" in path
        for name, value in response.headers.items():
            f"{name}: {value}".encode("latin-1")
    box.store.clear()


def related(html: str, image: bytes) -> bytes:
    return (
        b"From: a@example.com\r\nContent-Type: multipart/related; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/html\r\n\r\n" + html.encode() + b"\r\n"
        b"--x\r\nContent-Type: image/png\r\nContent-ID: <i@x>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(image).replace(b"\n", b"\r\n")
        + b"\r\n--x--\r\n"
    )


def test_a_thousand_references_to_one_image_embed_a_bounded_number_of_copies(
    box: Mailbox,
) -> None:
    image = bytes(300_000)
    number = put(box, related('<img src="cid:i@x">' * 1000, image))
    tracemalloc.start()
    try:
        response = ask(box, f"messages/{number}/frame")
        page = ask(box, f"messages/{number}/")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    copies = response.body.count(b"data:image/png;base64,")
    assert copies == markup._MOST_EMBEDDED // len(f"data:image/png;base64,{'A' * 400_000}")
    assert len(response.body) < markup._MOST_EMBEDDED + 100_000
    assert len(page.body) < 100_000
    assert peak < 10 * markup._MOST_EMBEDDED


def test_an_image_is_looked_up_and_encoded_once() -> None:
    lookups: list[str] = []

    def picture(content_id: str) -> tuple[str, bytes]:
        lookups.append(content_id)
        return "image/png", b"x"

    cleaned = markup.clean('<img src="cid:a"><img src="cid:b">' * 500, picture=picture)
    assert cleaned.html.count("data:image/png;base64,eA==") == 1000
    assert lookups == ["a", "b"]


@pytest.mark.parametrize(
    "path",
    [
        f"{kind}/{'1' * 30}/{end}"
        for kind in ("messages", "previews")
        for end in ("", "raw", "frame")
    ]
    + [f"messages/{'1' * 30}/parts/0", f"messages/1/parts/{'1' * 30}", f"api/messages/{'1' * 30}"]
    + [f"messages/\N{ARABIC-INDIC DIGIT ONE}/{end}" for end in ("", "raw")],
)
def test_a_number_that_no_message_can_have_is_not_found(box: Mailbox, path: str) -> None:
    assert ask(box, path).status == 404


@pytest.mark.parametrize("query", ["limit", "before"])
@pytest.mark.parametrize("value", ["9" * 400, "1e999", "nan", "-1", "x", "0x10", ""])
def test_a_number_in_the_query_is_checked(box: Mailbox, query: str, value: str) -> None:
    assert ask(box, f"api/messages?{query}={value}").status in (200, 400)


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: text/html; charset=utf-7\r\n\r\n<p>+2AA-</p>",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-",
        b"Subject: =?utf-7?q?+2AA-?=\r\nFrom: =?utf-7?q?+2AA-?= <a@b.example>\r\n\r\nx",
        b"Content-Type: text/html; charset=unicode_escape\r\n\r\n<p>\\ud800</p>",
        b"Content-Type: text/plain; charset=raw_unicode_escape\r\n\r\n\\ud800",
        b"Content-Type: text/html; charset=undefined\r\n\r\nx",
        b"Content-Type: text/html; charset=hex\r\n\r\nff",
        b"Content-Type: text/html; charset=\"a\0b\"\r\n\r\nx",
        b"Content-Type: image/\xff\xfe; name=\"\xff\"\r\nContent-ID: <\xff>\r\n\r\nx",
        b"X-\xff\xfe: y\r\nContent-Disposition: attachment; filename*=utf-7''+2AA-\r\n\r\nx",
        b"Content-Disposition: attachment; filename*" + b"9" * 5000 + b"*=a\r\n\r\nx",
        b"From: " + b"(" * 900 + b"\r\nDate: " + b"9" * 900 + b"\r\n\r\nx",
        b"From: " + b"\r\n ".join([b"(" * 500] * 20) + b"\r\n\r\nx",
        b"Date: Mon, 99999999999999999999 Jan 99999999999999999999 00:00 +99999999\r\n\r\nx",
        b"",
        b"\r\n",
        b"\0\0\0",
    ],
)  # fmt: skip
def test_each_page_shows_a_message_that_cannot_be_decoded(box: Mailbox, content: bytes) -> None:
    check_every_page(box, content)


def test_half_a_surrogate_pair_is_shown_as_a_replacement_character(box: Mailbox) -> None:
    number = put(box, b"Content-Type: text/plain; charset=utf-7\r\n\r\na+2AA-b")
    assert "a\ufffdb" in ask(box, f"messages/{number}/?view=text").body.decode()
    whole = put(box, b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2D3eAA-")
    assert "\U0001f600" in ask(box, f"messages/{whole}/?view=text").body.decode()


def test_encoded_words_without_end_are_not_searched_again_and_again(box: Mailbox) -> None:
    # Three megabytes: with a search from each beginning to the end this takes an hour.
    subject = b"\r\n ".join([b"=?a?q?" * 150] * 3500)
    check_every_page(box, b"Subject: " + subject + b"\r\n\r\nx")


@pytest.mark.parametrize(
    "field",
    [b'Content-Type: text/plain; name="', b'Content-Disposition: attachment; filename="'],
)
def test_long_parameters_are_cut_before_they_are_parsed(box: Mailbox, field: bytes) -> None:
    # A megabyte: the parser of the email package would take more than ten minutes.
    value = b"\r\n ".join([b";" * 900] * 1200)
    check_every_page(box, field + value + b"\r\nSubject: Still here\r\n\r\nText")
    put(box, field + value + b"\r\nSubject: Still here\r\n\r\nText")
    assert box.store.find()[0].subject == "Still here"


def test_many_nested_parts_with_many_lines_are_shown_as_one_text(box: Mailbox) -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)
    )
    content = nested + b"\r\n" + b"x\r\n" * 200_000
    message = StoredMessage(content)
    assert len(message.parts) == 1
    assert message.parts[0].content_type == "text/plain"


def test_the_number_of_links_is_bounded() -> None:
    html = "".join(f'<a href="https://a.example/{n}">x</a>' for n in range(5000))
    text = " ".join(f"https://b.example/{n}" for n in range(5000))
    assert len(markup.links(html, text)) == markup._MOST_LINKS


TOKENS = [
    b"From: ", b"Subject: ", b"Content-Type: ", b"Content-ID: ", b"Content-Disposition: ",
    b"Date: ", b"Content-Transfer-Encoding: ", b"text/html", b"text/plain", b"image/png",
    b"message/rfc822", b"multipart/mixed; boundary=x",
    b"multipart/related; boundary=x", b"\r\n", b"\r\n\r\n",
    b"\r\n--x\r\n", b"\r\n--x--\r\n", b"; charset=utf-7", b"; charset=utf-16", b"; charset=idna",
    b"; name=", b"; filename*0*=", b"utf-8''%ff", b"base64", b"quoted-printable", b"=?utf-7?q?",
    b"=?utf-8?b?", b"?=", b"+2AA-", b"=D8=00", b"<img src=cid:i>", b"<i>", b"<style>", b"</style>",
    b"<a href=", b"javascript:", b"http://[", b"url(", b"@import ", b"\xff", b"\0", b"\\ud800",
    b"(", b'"', b"&#xd800;", b"attachment", b"1",
]  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=40).map(b"".join))
def test_each_page_answers_whatever_the_message_contains(content: bytes) -> None:
    box = Mailbox(previews=Previews())
    try:
        check_every_page(box, content)
    finally:
        box.close()
