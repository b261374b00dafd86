"""The pages of the outbox in a Flask application, with the application's own guard."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")
pytest.importorskip("sqlalchemy", reason="the extra outbox is not installed here")

from flask import Flask, abort, render_template_string
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from flask_integration import Mail, Message
from flask_integration.mailbox import blueprint
from flask_integration.outbox import outbox_of
from mailbackends import Receipt, Reply, SMTPDeliveryUnknown, SMTPRecipientsRefused
from mailbackends.outbox import State, recorded
from support.browser import Browser, browser, require, wait_for
from support.mailbox import SAMPLE_HTML

DOCS = Path(__file__).parents[2] / "docs"
HTML = "<p>The <b>HTML</b></p><script>alert(1)</script>"
OWN = {"Origin": "http://localhost"}

Guard = Callable[[str], str | bool]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., tuple[Flask, Any]]]:
    """Makes an application with the pages, a guard, and its outbox."""
    made: list[Any] = []

    def make(guard: Any = lambda _: "grace", **config: Any) -> tuple[Flask, Any]:
        app = Flask(__name__)
        app.config.update(
            MAIL_URL="smtp://smtp.example.com",
            MAIL_DEFAULT_SENDER="shop@leafandcup.example",
            MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}",
            MAILBOX_GUARD=guard,
            **config,
        )
        Mail(app)
        app.register_blueprint(blueprint)
        box = outbox_of(app)
        box.create_tables()
        made.append(box)
        return app, box

    yield make
    for box in made:
        box.close()


def queue(
    app: Flask, to: str = "ada@example.com", subject: str = "Your order", **options: Any
) -> Any:
    html = options.pop("html", HTML)
    with app.app_context():
        message = Message(subject, [to], body="The text", html=html)
        return app.extensions["mail"].enqueue(message, **options).id


def attempt(box: Any, result: Receipt | Exception) -> None:
    """Let a worker try the message that is due, with this result."""
    [claimed] = box.store.claim(1, lease=60, worker="web-1:4711", aliases=["default"])
    box.store.begin([claimed], lease=60)
    assert box.store.record(recorded(claimed, result, worker="web-1:4711"))


def refusal(to: str) -> SMTPRecipientsRefused:
    reply = Reply.of(550, "5.1.1 No such user")
    error = SMTPRecipientsRefused({to: (reply.code, reply.message)})
    error.refused = {to: reply}
    return error


def unknown(app: Flask, box: Any, **options: Any) -> Any:
    id = queue(app, **options)
    attempt(box, SMTPDeliveryUnknown("the connection broke before the reply"))
    return id


def page(client: FlaskClient, path: str = "") -> str:
    answer = client.get(f"/mailbox/outbox/{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("what", ["address", "capitals", "message_id", "key", "id"])
def test_one_search_finds_the_mail_to_ada(make: Any, what: str) -> None:
    app, box = make()
    id = queue(app, key="order-4711")
    queue(app, "eve@example.com", "Another")
    asked = {
        "address": "ada@example.com",
        "capitals": "ADA@example.com",
        "message_id": box.store.get(id).message_id.strip("<>"),
        "key": "order-4711",
        "id": str(id),
    }[what]
    found = app.test_client().get("/mailbox/outbox/", query_string={"q": asked}).text
    assert "Your order" in found
    assert "eve@example.com" not in found


def test_the_page_of_a_message_has_the_servers_words_and_the_history(make: Any) -> None:
    app, box = make()
    id = queue(app)
    attempt(box, refusal("ada@example.com"))
    shown = page(app.test_client(), f"{id}/")
    for text in ("550 5.1.1 No such user", "attempt", "web-1:4711", "refused"):
        assert text in shown


@pytest.mark.parametrize(
    ("act", "state", "kind"),
    [
        ("arrived", State.ACCEPTED, "resolved"),
        ("missing", State.REFUSED, "resolved"),
        ("resend", State.QUEUED, "resent"),
    ],
)
def test_an_unknown_outcome_is_resolved_by_a_button_and_the_history_says_by_whom(
    make: Any, act: str, state: State, kind: str
) -> None:
    app, box = make()
    id = unknown(app, box)
    client = app.test_client()
    answer = client.post(
        f"/mailbox/outbox/{id}/do", data={"act": act}, headers=OWN, follow_redirects=True
    )
    assert answer.status_code == 200, answer.text
    assert box.store.get(id).state is state
    entry = box.store.log(id)[-1]
    assert (entry.kind, entry.by) == (kind, "grace")


def test_selected_messages_are_cancelled_at_once(make: Any) -> None:
    app, box = make()
    ids = [queue(app), queue(app)]
    other = queue(app)
    data = {"act": "cancel", **{str(id): "on" for id in ids}}
    answer = app.test_client().post("/mailbox/outbox/do", data=data, headers=OWN)
    assert answer.status_code == 303
    assert [box.store.get(id).state for id in (*ids, other)] == [
        State.CANCELLED,
        State.CANCELLED,
        State.QUEUED,
    ]


def test_reading_needs_a_permission_and_is_recorded(make: Any) -> None:
    app, box = make(guard=lambda permission: permission == "view")
    id = queue(app)
    client = app.test_client()
    assert "Download the source" not in page(client, f"{id}/")
    for what in ("source", "frame"):
        assert client.get(f"/mailbox/outbox/{id}/{what}").status_code == 403
    app.config["MAILBOX_GUARD"] = lambda _: "grace"
    assert "Subject: Your order" in client.get(f"/mailbox/outbox/{id}/source").text
    entry = box.store.log(id)[-1]
    assert (entry.kind, entry.by) == ("content read", "grace")


def test_the_preview_is_cleaned_and_sandboxed(make: Any) -> None:
    app, _ = make()
    answer = app.test_client().get(f"/mailbox/outbox/{queue(app)}/frame")
    assert "<b>HTML</b>" in answer.text
    assert "alert" not in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_acting_needs_a_permission(make: Any) -> None:
    app, box = make(guard=lambda permission: permission != "manage")
    id = unknown(app, box)
    client = app.test_client()
    assert "It arrived" not in page(client, f"{id}/")
    for path in (f"{id}/do", "do"):
        answer = client.post(f"/mailbox/outbox/{path}", data={"act": "arrived"}, headers=OWN)
        assert answer.status_code == 403
    assert box.store.get(id).state is State.UNKNOWN


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {**OWN, "Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_of_another_website_does_nothing(make: Any, headers: dict[str, str]) -> None:
    app, box = make()
    id = unknown(app, box)
    answer = app.test_client().post(
        f"/mailbox/outbox/{id}/do", data={"act": "arrived"}, headers=headers
    )
    assert answer.status_code == 403
    assert box.store.get(id).state is State.UNKNOWN


def test_outside_of_debug_mode_there_are_no_pages_without_a_guard(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make(guard=None)
    with caplog.at_level(logging.WARNING):
        assert app.test_client().get("/mailbox/outbox/").status_code == 404
    assert "MAILBOX_GUARD" in caplog.text
    app.debug = True
    assert "The outbox is empty." in page(app.test_client())


def test_the_guard_refuses_or_sends_to_a_login(make: Any) -> None:
    app, _ = make(guard=lambda _: False)
    assert app.test_client().get("/mailbox/outbox/").status_code == 403

    def guard(_: str) -> bool:
        abort(401)

    app.config["MAILBOX_GUARD"] = guard
    assert app.test_client().get("/mailbox/outbox/").status_code == 401


def test_a_missing_message_and_an_impossible_action_are_errors(make: Any) -> None:
    app, _ = make()
    client = app.test_client()
    missing = "01970000-0000-7000-8000-000000000000"
    for path in (f"{missing}/", "a" * 36 + "/", "no/such/page"):
        assert client.get(f"/mailbox/outbox/{path}").status_code == 404
    id = queue(app)
    answer = client.post(f"/mailbox/outbox/{id}/do", data={"act": "arrived"}, headers=OWN)
    assert answer.status_code == 409
    assert "needs no resolving" in answer.text
    answer = client.post(f"/mailbox/outbox/{id}/do", data={"act": "explode"}, headers=OWN)
    assert answer.status_code == 400


def test_the_guard_in_docs_outbox_md(make: Any, tmp_path: Path) -> None:
    text = (DOCS / "outbox.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n# guard.py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "guard.py", "exec"), names)  # noqa: S102 - the page's own sample
    make()
    app: Flask = names["app"]
    app.config.update(
        SECRET_KEY="for a test", MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}"
    )
    client = app.test_client()
    assert client.get("/mailbox/outbox/").status_code == 401
    with client.session_transaction() as session:
        session.update(user="grace", permissions=["view"])
    assert "The outbox is empty." in page(client)
    assert client.post("/mailbox/outbox/do", headers=OWN).status_code == 403
    outbox_of(app).close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="selenium is not installed here")
    require()
    folder = tmp_path_factory.mktemp("chromium")
    with browser(folder / "profile", folder) as opened:
        yield opened


def test_in_a_browser_a_person_finds_the_mail_reads_it_and_sends_it_again(
    make: Any, chromium: Browser, tmp_path: Path
) -> None:
    app, box = make()
    queue(app, "grace@example.com", "Reset your password")
    attempt(box, Receipt(("grace@example.com",), Reply.of(250, "2.0.0 Ok: queued as 4bQz1x")))
    queue(app, "nobody@example.com", "Welcome")
    attempt(box, refusal("nobody@example.com"))
    id = unknown(app, box, subject="Your order 1042 is on its way", html=SAMPLE_HTML)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    place = f"http://localhost:{server.server_port}/mailbox/outbox/"
    try:
        chromium.look_like(1200, 420, "light")
        chromium.open(place)
        picture(chromium, "outbox-flask-list.png", tmp_path)
        chromium.one("#search").send_keys("ada@example.com\n")
        wait_for(lambda: len(chromium.all("tbody tr")) == 1)
        chromium.one("tbody a").click()
        wait_for(lambda: str(id) in chromium.driver.current_url)
        chromium.one("details.preview summary").click()
        with chromium.inside("details.preview iframe"):
            wait_for(lambda: "Thank you, Ada!" in chromium.text("h1"))
        [again] = [each for each in chromium.all("button") if each.text == "Send again"]
        again.click()
        assert "will be sent again" in chromium.one(".done").text
        assert box.store.get(id).state is State.QUEUED
        assert chromium.complaints() == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def picture(chromium: Browser, name: str, folder: Path) -> None:
    """The page for docs/, where MAILBACKENDS_TESTS_PICTURES=1 writes it."""
    path = (DOCS if os.environ.get("MAILBACKENDS_TESTS_PICTURES") else folder) / name
    chromium.picture(path)
    assert 5_000 < path.stat().st_size < 150_000
    assert name in (DOCS / "outbox.md").read_text("utf-8")


def test_what_is_rendered_when_it_is_sent_is_shown_as_it_would_be_sent_now(
    make: Callable[..., tuple[Flask, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: list[Exception] = []

    def order(message: EmailMessage, number: int) -> None:
        if failing:
            raise failing.pop()
        message.set_content(render_template_string("Order {{ n }}", n=number))

    module: Any = ModuleType("page_mails")
    module.order = order
    monkeypatch.setitem(sys.modules, "page_mails", module)
    app, box = make()
    with app.app_context():
        message = Message("Your order", ["ada@example.com"])
        mail = app.extensions["mail"]
        id = mail.enqueue(message, render="page_mails.order", context={"number": 4711}).id
    response = app.test_client().get(f"/mailbox/outbox/{id}/source")
    assert "Order 4711" in response.text
    assert box.store.log(id)[-1].kind == "content read"
    failing += [LookupError("deleted")]
    response = app.test_client().get(f"/mailbox/outbox/{id}/source")
    assert response.status_code == 404
    assert "LookupError: deleted" in response.text
