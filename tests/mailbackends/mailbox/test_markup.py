"""Untrusted HTML: nothing runs, nothing is loaded, and the rest is kept."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")

from hypothesis import given
from hypothesis import strategies as st

from mailbackends.mailbox.markup import clean, links, plain_text
from support.mailbox import SAMPLE_HTML

RUNS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVa\tScript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=x></object><embed src=x>",
    "<form action=https://evil.example><input name=a><button>Go</button></form>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example><link rel=stylesheet href=https://evil.example>",
    "<style></style><img src=x onerror=alert(1)></style>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "</body></html><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    "<body onload=alert(1)>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
]
LOADS = [
    "<img src=https://tracker.example/a.gif>",
    "<img src=//tracker.example/a.gif>",
    "<img srcset='https://tracker.example/a.gif 2x'>",
    "<table background=https://tracker.example/a.gif>",
    "<p style='background:url(https://tracker.example/a.gif)'>x</p>",
    "<style>p { background: url( 'https://tracker.example/a.gif' ) }</style>",
    "<style>@import 'https://tracker.example/a.css';</style>",
    "<style>@import url(https://tracker.example/a.css);</style>",
    "<style>p { background: url('https://tracker.example/(a).gif') }</style>",
]


@pytest.mark.parametrize("markup", RUNS)
def test_scripts_are_removed(markup: str) -> None:
    html = clean(f"<p>before</p>{markup}<p>after</p>", remote=True).html
    assert not re.search(r"<(script|iframe|object|embed|form|input|meta|base|link|svg)", html)
    assert not re.search(r"<[^>]*\son\w+\s*=", html)
    assert "javascript:" not in html.lower()
    assert 'href="data:' not in html
    assert "svg+xml" not in html
    assert "before" in html


@pytest.mark.parametrize("markup", LOADS)
def test_nothing_remote_is_loaded_unless_requested(markup: str) -> None:
    blocked = clean(markup)
    assert "tracker.example" not in blocked.html
    assert blocked.remote == 1
    if "//tracker" in markup and "https" in markup:
        assert "tracker.example" in clean(markup, remote=True).html


def test_images_of_the_message_are_embedded() -> None:
    cleaned = clean(
        '<img src="cid:a%40b"><img src="CID:nobody"><p style="background:url(cid:a@b)">',
        picture=lambda name: ("image/png", b"png") if name == "a@b" else None,
    )
    assert cleaned.html.count("data:image/png;base64,cG5n") == 2
    assert cleaned.remote == 0


def test_layout_is_kept() -> None:
    html = clean(SAMPLE_HTML).html
    for kept in ("border-radius:14px", "<style>", "cellpadding", "Follow the parcel", "#eef1ee"):
        assert kept in html


def test_links_open_a_new_tab_and_send_no_referrer() -> None:
    html = clean('<a href="https://example.com" target="_top">x</a>').html
    assert 'target="_blank"' in html
    assert "noreferrer" in html


@given(st.text(alphabet="<>\"'/=abcdeghilmnoprstuxy!-&;:#()\n ", max_size=200))
def test_no_markup_breaks_the_cleaning_or_keeps_a_handler(text: str) -> None:
    html = clean(text).html
    assert "<script" not in html.lower()
    # What comes out is a fixed point: a browser reads it as nh3 did.
    assert clean(html).html == clean(clean(html).html).html
    links(text, text)
    plain_text(text)


@pytest.mark.parametrize(
    "markup",
    [
        "<style>" + "url(" * 300_000,
        "<body " * 200_000,
        "<style>@import " * 80_000,
        "<p style='" + 'url("' * 300_000,
        "http://." * 150_000,
        "<a href=x>" * 30_000,
    ],
    ids=["url", "body", "import", "quotes", "links", "anchors"],
)
def test_markup_made_to_be_slow_is_cleaned_in_bounded_time(markup: str) -> None:
    """Each takes a fraction of a second; what grows with the square would take minutes."""
    clean(markup)
    links(markup, markup)


def test_links_are_listed_with_warnings() -> None:
    html = (
        '<a href="https://shop.example/a"><b>Your</b> order</a><a href="http://evil.example">'
        'www.bank.example</a><a href="/relative">x</a><a href="javascript:1">y</a>'
        '<a href="http://localhost:8000/reset">z</a><a href="http://[">w</a>'
        '<img src="https://shop.example/logo.png" alt="Logo">'
    )
    found = {link.url: link for link in links(html, "See http://plain.example/x.")}
    assert found["https://shop.example/a"].text == "Your order"
    assert found["https://shop.example/a"].warning == ""
    assert "leads to evil.example" in found["http://evil.example"].warning
    assert "relative" in found["/relative"].warning
    assert "javascript" in found["javascript:1"].warning
    assert "own machine" in found["http://localhost:8000/reset"].warning
    assert "invalid" in found["http://["].warning
    assert found["https://shop.example/logo.png"].kind == "image"
    assert found["http://plain.example/x"].kind == "text"
