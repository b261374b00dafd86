"""Messages from templates; styles and text by libraries."""

from __future__ import annotations

import email
import email.policy
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from jinja2 import TemplateNotFound

from flask_integration import Mail, Message
from mailbackends import ConfigurationError, InvalidMessageError
from mailbackends.integration import can_make_text

from .conftest import MakeApp


@pytest.fixture
def templates(app: Flask, tmp_path: Path) -> Path:
    app.root_path = str(tmp_path)
    app.template_folder = "templates"
    folder = tmp_path / "templates"
    folder.mkdir()
    Mail(app)
    return folder


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(text, encoding="utf-8")


def test_text_and_html_are_rendered_with_the_same_context(app: Flask, templates: Path) -> None:
    write(
        templates,
        order_txt="Subject: Order {{ number }}\n\nHello {{ name }} & all\n",
        order_html="<p>Hello {{ name }} &amp; all</p>",
    )
    with app.app_context():
        message = Message.from_template(
            "order", recipients=["ada@example.com"], cc=["c@x.com"], number=7, name="<Ada>"
        )
    assert message.subject == "Order 7"
    assert message.body == "Hello <Ada> & all"
    assert message.html == "<p>Hello &lt;Ada&gt; &amp; all</p>"
    assert list(message.send_to) == ["ada@example.com", "c@x.com"]
    assert message.sender == "Shop <shop@example.com>"


def test_the_subject_may_be_a_block_of_either_template(app: Flask, templates: Path) -> None:
    write(
        templates,
        one_txt="{% block subject %}\n  Fish & {{ what }}\n{% endblock %}\n\nText\n",
        two_html="{% block subject %}Fish & {{ what }}{% endblock %}<p>Text</p>",
    )
    with app.app_context():
        one = Message.from_template("one", what="<Chips>")
        two = Message.from_template("two", what="<Chips>")
    assert one.subject == two.subject == "Fish & <Chips>"
    assert one.body == "Text"
    assert (two.body, two.html) == (None, "<p>Text</p>")


def test_templates_may_extend_others(app: Flask, templates: Path) -> None:
    write(
        templates,
        layout_html="<h1>{% block subject %}{% endblock %}</h1>{% block body %}{% endblock %}",
        order_html="{% extends 'layout.html' %}{% block subject %}Order{% endblock %}"
        "{% block body %}<p>Text</p>{% endblock %}",
    )
    with app.app_context():
        message = Message.from_template("order")
    assert message.subject == "Order"
    assert message.html == "<h1></h1><p>Text</p>"


def test_the_argument_subject_takes_precedence(app: Flask, templates: Path) -> None:
    write(templates, order_txt="Subject: here\n\nText")
    with app.app_context():
        message = Message.from_template("order", subject="There")
    assert message.subject == "There"
    assert message.body == "Text"


def test_a_line_break_in_a_value_cannot_begin_another_header(app: Flask, templates: Path) -> None:
    write(templates, order_txt="{% block subject %}Order of {{ name }}{% endblock %}Text")
    with app.app_context():
        message = Message.from_template("order", name="Ada\r\nBcc: eve@example.com")
    assert message.subject == "Order of Ada Bcc: eve@example.com"


def test_names_that_clash_go_into_the_context(app: Flask, templates: Path) -> None:
    write(templates, order_txt="Subject: x\n\n{{ sender }} {{ date }} {{ body }} {{ g.name }}")
    with app.app_context():
        g.name = "Flask"
        message = Message.from_template("order", {"sender": "Ada"}, date="today", body="corpus")
    assert message.sender == "Shop <shop@example.com>"
    assert message.body == "Ada today corpus Flask"


def test_context_processors_of_the_application_are_used(app: Flask, templates: Path) -> None:
    write(templates, order_txt="Subject: x\n\n{{ shop }}")

    @app.context_processor
    def add() -> dict[str, Any]:
        return {"shop": "Leaf & Cup"}

    with app.app_context():
        assert Message.from_template("order").body == "Leaf & Cup"


def test_a_missing_template_or_subject_is_reported(app: Flask, templates: Path) -> None:
    write(templates, order_txt="Text", broken_txt="{% include 'gone.txt' %}")
    with app.app_context():
        with pytest.raises(TemplateNotFound, match=r"neither nothing\.txt nor nothing\.html"):
            Message.from_template("nothing")
        with pytest.raises(TemplateNotFound, match=r"gone\.txt"):
            Message.from_template("broken", subject="x")
        with pytest.raises(InvalidMessageError, match="'order' have no subject"):
            Message.from_template("order")
    with pytest.raises(RuntimeError, match=r"app\.app_context\(\)"):
        Message.from_template("order")


def test_a_message_without_text_gets_it_from_its_html(app: Flask) -> None:
    pytest.importorskip("inscriptis")
    Mail(app)
    html = "<h1>Tea</h1><p>See <a href='https://x.example/'>our page</a> &amp; more</p>"
    with app.app_context():
        message = Message("Hello", ["a@x.com"], html=html)
        raw = message.as_bytes()
    text = email.message_from_bytes(raw, policy=email.policy.default).get_body(("plain",))
    assert text is not None
    assert text.get_content().split() == [
        "Tea",
        "See",
        "[our",
        "page](https://x.example/)",
        "&",
        "more",
    ]
    assert message.body is None


def test_text_from_html_can_be_switched_off(app: Flask) -> None:
    app.config["MAIL_TEXT_FROM_HTML"] = False
    Mail(app)
    with app.app_context():
        assert "Tea" not in Message("Hello", ["a@x.com"], html="<p>T&#101;a</p>").as_string()


def test_styles_are_inlined_and_media_queries_stay(make_app: MakeApp) -> None:
    pytest.importorskip("css_inline")
    app = make_app(MAIL_INLINE_CSS=True, TESTING=True)
    Mail(app)
    html = "<style>p { color: red } @media print { p { color: black } }</style><p>Tea</p>"
    with app.app_context():
        message = Message("Hello", ["a@x.com"], body="Tea", html=html)
        shown = message.as_string()
    assert '<p style="color: red;">Tea</p>' in shown
    assert "@media print" in shown
    assert message.html == html


@pytest.mark.parametrize(
    ("key", "module"), [("MAIL_INLINE_CSS", "css_inline"), ("MAIL_TEXT_FROM_HTML", "inscriptis")]
)
def test_a_missing_library_is_reported_at_start_up(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, key: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf'{key} needs .* "mailbackends\[html\]"'):
        Mail(make_app(**{key: True}))


def test_without_the_library_the_text_is_empty_as_in_flask_mail(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_integration.mime.can_make_text", lambda: False)
    can_make_text()
    Mail(app)
    with app.app_context():
        raw = Message("Hello", ["a@x.com"], html="<p>Tea</p>").as_bytes()
    text = email.message_from_bytes(raw, policy=email.policy.default).get_body(("plain",))
    assert text is not None
    assert text.get_content() == ""
