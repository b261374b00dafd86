"""The pages and the JSON interface: what they show, and which requests are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends.mailbox import Mailbox
from mailbackends.previews import Previews
from support.mailbox import PDF, ask, json_of, mail, put, text_of

EVIL = "<script>alert('\"1')</script>"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    box = Mailbox(previews=Previews(), hosts=["shop.test"])
    yield box
    box.close()


def test_the_list_shows_all_messages_and_the_search_those_that_match(box: Mailbox) -> None:
    put(box, mail())
    put(box, mail(to="grace@example.com", subject="Reset your password", text="Hi"))
    assert "1042" in text_of(ask(box))
    assert "2 messages, 2 new" in text_of(ask(box))
    found = text_of(ask(box, "list?q=password"))
    assert "Reset your password" in found
    assert "1042" not in found


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("html", "frame"),
        ("text", "Thank you, Ada!"),
        ("headers", "Receivers check its domain"),
        ("links", "https://leafandcup.example/orders/1042"),
        ("source", "Content-Transfer-Encoding"),
        ("receipt", "Accepted for 1 of 1 recipients"),
        ("notes", "Nothing looks wrong"),
        ("unknown", "frame"),
    ],
)
def test_each_view_of_a_message_is_shown(box: Mailbox, view: str, shown: str) -> None:
    number = put(box, mail(attachments={"invoice.pdf": PDF}))
    response = ask(box, f"messages/{number}/?view={view}")
    assert response.status == 200
    assert shown in text_of(response)
    assert "invoice.pdf" in text_of(response)


def test_opening_a_message_marks_it_as_read(box: Mailbox) -> None:
    number = put(box, mail())
    ask(box, f"messages/{number}/frame")
    assert box.store.unread() == 1
    ask(box, f"messages/{number}/")
    assert box.store.unread() == 0


def test_the_page_escapes_everything_from_a_message(box: Mailbox) -> None:
    content = mail(subject=EVIL, text=EVIL + " http://x.example/'\"<i>", html=None).as_bytes()
    content = content.replace(b"From: ", f"X-{EVIL}: {EVIL}\r\nFrom: {EVIL} ".encode(), 1)
    number = put(box, content, sender=EVIL, accepted=(EVIL,), refused={EVIL: EVIL}, user=EVIL)
    for view in ("text", "headers", "links", "source", "receipt", "notes"):
        page = text_of(ask(box, f"messages/{number}/?view={view}&q={EVIL}"))
        assert "<script>" not in page, view
        assert "&lt;script&gt;" in page, view
    assert "<script>" not in text_of(ask(box, f"?q={EVIL}"))
    assert b"<script>" not in ask(box, f"api/messages/{number}").body


def test_the_frame_is_sandboxed(box: Mailbox) -> None:
    number = put(box, mail())
    locked = ask(box, f"messages/{number}/frame")
    policy = locked.headers["Content-Security-Policy"]
    assert "sandbox allow-popups allow-popups-to-escape-sandbox;" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "http" not in policy
    assert "tracker.example" not in text_of(locked)
    assert "data:image/png;base64," in text_of(locked)
    opened = ask(box, f"messages/{number}/frame?remote=1")
    assert "tracker.example" in text_of(opened)
    assert "script" not in opened.headers["Content-Security-Policy"]
    page = text_of(ask(box, f"messages/{number}/"))
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page


def test_the_page_runs_only_its_own_files(box: Mailbox) -> None:
    number = put(box, mail())
    for path in ("", f"messages/{number}/", "faults/", "previews/"):
        response = ask(box, path)
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert not re.search(r"<script>|\son\w+=|\sstyle=|<style", text_of(response))
        assert "http://" not in re.sub(r"http://127[.0-9:]+", "", text_of(response))


def test_only_the_static_files_are_served(box: Mailbox) -> None:
    folder = files("mailbackends.mailbox").joinpath("static")
    for file in folder.iterdir():
        assert ask(box, f"static/{file.name}").body == file.read_bytes()
    for path in ("static/../pages.py", "static/%2e%2e/pages.py", "static/pages.py", "static/"):
        assert ask(box, path).status == 404


@pytest.mark.parametrize(
    ("name", "shown_name"),
    [
        ("invoice.pdf", "filename=\"invoice.pdf\"; filename*=UTF-8''invoice.pdf"),
        ('a".html', "filename=\"a_.html\"; filename*=UTF-8''a%22.html"),
        ("../../etc/passwd", "filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("Überweisung.exe", "filename=\"_berweisung.exe\"; filename*=UTF-8''%C3%9Cberweisung.exe"),
        ("gpj.\u202eexe", "filename=\"gpj.exe\"; filename*=UTF-8''gpj.exe"),
    ],
)
def test_an_attachment_is_downloaded_and_never_shown_as_a_page(
    box: Mailbox, name: str, shown_name: str
) -> None:
    number = put(box, mail(html=None, attachments={name: b"<script>alert(1)</script>"}))
    response = ask(box, f"messages/{number}/parts/1")
    assert response.body == b"<script>alert(1)</script>"
    assert response.headers["Content-Disposition"] == f"attachment; {shown_name}"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("kind", "is_shown"),
    [
        ("image/png", True),
        ("application/pdf", True),
        ("text/plain", True),
        ("text/html", False),
        ("image/svg+xml", False),
        ("application/xhtml+xml", False),
        ("text/xml", False),
        ("message/rfc822", False),
    ],
)
def test_only_harmless_types_are_opened_in_the_browser(
    box: Mailbox, kind: str, is_shown: bool
) -> None:
    content = f"Content-Type: {kind}\r\nContent-Disposition: attachment; filename=a\r\n\r\n<b>x</b>"
    number = put(box, content.encode())
    response = ask(box, f"messages/{number}/parts/0?open=1")
    assert response.headers["Content-Disposition"].startswith(
        "inline" if is_shown else "attachment"
    )
    assert ("sandbox" in response.headers["Content-Security-Policy"]) is (kind != "application/pdf")


def test_the_source_is_downloaded(box: Mailbox) -> None:
    number = put(box, mail(subject="a/b\x07: c"))
    response = ask(box, f"messages/{number}/raw")
    assert response.headers["Content-Type"] == "message/rfc822"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="')
    assert response.body.startswith(b"From: ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8025", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:8025", 200),
        ("box.localhost:1", 200),
        ("shop.test:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8025", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ],
)
def test_only_allowed_host_names_are_answered(box: Mailbox, host: str, status: int) -> None:
    put(box, mail())
    response = ask(box, "", headers={"host": host})
    assert response.status == status
    assert ("1042" in text_of(response)) is (status == 200)


CHANGES = [
    ("POST", "messages/1/delete"),
    ("POST", "delete"),
    ("POST", "faults/"),
    ("POST", "faults/1/remove"),
    ("DELETE", "api/messages"),
    ("DELETE", "api/messages/1"),
    ("POST", "api/faults"),
    ("DELETE", "api/faults"),
    ("DELETE", "api/faults/1"),
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_another_website_cannot_change_anything(box: Mailbox, method: str, path: str) -> None:
    put(box, mail())
    form = {"kind": "drop", "token": "guessed"}
    assert ask(box, path, method=method, form=form, own=False).status == 403
    assert ask(box, path, method=method, data={"kind": "drop"}, own=False).status == 403
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost:1"},
    ):
        assert ask(box, path, method=method, data={"kind": "drop"}, headers=headers).status == 403
    assert (box.store.count(), box.faults.all()) == (1, [])


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_get_requests_change_nothing(box: Mailbox, method: str, path: str) -> None:
    put(box, mail())
    ask(box, path)
    assert (box.store.count(), box.faults.all()) == (1, [])


def test_a_form_of_the_page_deletes_a_message(box: Mailbox) -> None:
    first = put(box, mail())
    put(box, mail())
    headers = {"origin": "http://localhost:8025", "sec-fetch-site": "same-origin"}
    answer = ask(
        box, f"messages/{first}/delete", method="POST", form={}, headers=headers, base="/mailbox/"
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/mailbox/")
    assert box.store.count() == 1
    ask(box, "delete", method="POST", form={})
    assert box.store.count() == 0


def test_faults_are_added_and_removed_in_the_page(box: Mailbox) -> None:
    wrong = ask(box, "faults/", method="POST", form={"kind": "delay", "recipient": EVIL})
    assert wrong.status == 400
    assert "seconds must be more than 0" in text_of(wrong)
    assert "<script>alert" not in text_of(wrong)
    ask(box, "faults/", method="POST", form={"kind": "refuse", "reply": "", "times": "2"})
    assert "550 5.1.1 No such user here · 2 more times" in text_of(ask(box, "faults/"))
    ask(box, "faults/1/remove", method="POST", form={})
    assert "No faults are set" in text_of(ask(box, "faults/"))


def test_the_json_interface_shows_and_deletes_messages(box: Mailbox) -> None:
    number = put(box, mail(attachments={"invoice.pdf": PDF}), refused={"eve@x.example": "550 No"})
    listed = json_of(ask(box, "api/messages?q=1042&limit=5"))
    assert (listed["total"], listed["messages"][0]["id"]) == (1, number)
    shown = json_of(ask(box, f"api/messages/{number}", base="/mailbox/"))
    assert shown["receipt"]["accepted"] == ["ada@example.com"]
    assert shown["receipt"]["refused"] == {"eve@x.example": "550 No"}
    assert shown["receipt"]["message_id"] == "<order-1042@leafandcup.example>"
    assert shown["attachments"][0]["filename"] == "invoice.pdf"
    assert shown["attachments"][0]["url"].startswith(f"/mailbox/messages/{number}/parts/")
    assert shown["inline_images"][0]["content_id"] == "logo@shop"
    assert shown["links"][0]["url"] == "https://leafandcup.example/orders/1042"
    since = json_of(ask(box, "api/changes"))["version"]
    assert json_of(ask(box, f"api/messages/{number}", method="DELETE")) == {"deleted": 1}
    assert ask(box, f"api/messages/{number}", method="DELETE").status == 404
    assert json_of(ask(box, f"api/changes?since={since}&wait=20"))["version"] == since + 1
    put(box, mail())
    assert json_of(ask(box, "api/messages", method="DELETE")) == {"deleted": 1}


def test_the_json_interface_adds_and_removes_faults(box: Mailbox) -> None:
    fault = {"kind": "reject", "recipient": "*@x.example", "times": 1}
    made = ask(box, "api/faults", method="POST", data=fault)
    assert made.status == 201
    assert json_of(made)["reply"] == "552 5.2.2 Mailbox full"
    assert [f["id"] for f in json_of(ask(box, "api/faults"))["faults"]] == [1]
    wrong = ask(box, "api/faults", method="POST", data={"kind": "x"})
    assert (wrong.status, "'x'" in json_of(wrong)["error"]) == (400, True)
    assert ask(box, "api/faults", method="POST", data=[1]).status == 400
    assert json_of(ask(box, "api/faults/1", method="DELETE")) == {"removed": 1}
    assert json_of(ask(box, "api/faults", method="DELETE")) == {"faults": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 404),
        ("messages/1/", 404),
        ("messages/x/", 404),
        ("messages/x/frame", 404),
        ("messages/1/parts/0", 404),
        ("messages/999999999999999/", 404),
        ("messages/\u0661/", 404),
        ("previews/nothing/", 404),
        ("api/messages/1", 404),
        ("api/messages?limit=x", 400),
        ("api/messages?limit=nan", 400),
        ("api/messages?limit=-1", 400),
        ("api/messages?before=1e400", 400),
        ("api/changes?since=inf", 400),
        ("?" + "&".join(["q=x"] * 400), 400),
        ("messages/1/delete", 405),
    ],
)
def test_an_unknown_path_is_answered_with_404(box: Mailbox, path: str, status: int) -> None:
    assert ask(box, path).status == status


def test_previews_are_shown_and_not_sent(box: Mailbox) -> None:
    calls: list[int] = []

    @box.previews("Order confirmation", group="Orders")
    def order_confirmation() -> object:
        """What a customer gets at once."""
        calls.append(1)
        return mail()

    @box.previews
    def broken() -> object:
        raise KeyError(EVIL)

    listed = text_of(ask(box, "previews/"))
    assert "What a customer gets at once." in listed
    assert "Broken" in listed
    assert calls == []
    assert "Your order 1042" in text_of(ask(box, "previews/order_confirmation/"))
    assert "data:image/png" in text_of(ask(box, "previews/order_confirmation/frame"))
    assert "<b>Receipt" not in text_of(ask(box, "previews/order_confirmation/?view=receipt"))
    failed = ask(box, "previews/broken/")
    assert "KeyError" in text_of(failed)
    assert "<script>alert" not in text_of(failed)
    assert ask(box, "previews/broken/frame").status == 500
    assert box.store.count() == 0


def test_selected_messages_are_deleted_and_the_others_kept(box: Mailbox) -> None:
    numbers = [put(box, mail()) for _ in range(210)]
    page = text_of(ask(box, "list"))
    fields = dict.fromkeys(re.findall(r'name="(message-\d+)"', page), "on")
    assert len(fields) == 200
    del fields[f"message-{numbers[-1]}"]
    foreign = ask(box, "delete-selected", method="POST", form=fields, own=False)
    assert (foreign.status, box.store.count()) == (403, 210)
    response = ask(box, "delete-selected", method="POST", form={**fields, "message-x": "on"})
    assert response.status == 303
    assert [line.id for line in box.store.find()] == [numbers[-1], *reversed(numbers[:10])]


@pytest.mark.parametrize("path", ["messages/1", "messages/1?view=text", "previews", "faults"])
def test_a_page_without_its_trailing_slash_is_redirected(box: Mailbox, path: str) -> None:
    put(box, mail())
    response = ask(box, path, base="/mailbox/")
    assert response.status == 303
    name, _, query = path.partition("?")
    assert response.headers["Location"] == f"/mailbox/{name}/{'?' if query else ''}{query}"
    assert ask(box, response.headers["Location"].removeprefix("/mailbox/")).status == 200


def test_no_redirect_leads_to_another_host(box: Mailbox) -> None:
    for path in ("/evil.example", "//evil.example", "evil.example", "messages/1\r\nX: y"):
        assert ask(box, path).status == 404


def test_to_cc_and_bcc_are_shown_by_their_names(box: Mailbox) -> None:
    message = mail(to="Ada <ada@example.com>")
    message["Cc"] = "grace@example.com"
    people = ("ada@example.com", "grace@example.com", "log@example.com")
    number = put(box, message, accepted=people, refused={"eve@example.com": "550 No"})
    page = text_of(ask(box, f"messages/{number}/"))
    assert "to Ada &lt;ada@example.com&gt;<" in page
    assert "cc grace@example.com<" in page
    assert "bcc log@example.com, eve@example.com<" in page


def test_a_blind_copy_is_shown_if_its_address_is_the_end_of_a_visible_one(box: Mailbox) -> None:
    people = ("ada@example.com", "a@example.com")
    number = put(box, mail(to="Ada <ada@example.com>"), accepted=people)
    assert "bcc a@example.com<" in text_of(ask(box, f"messages/{number}/"))


def test_the_list_shows_the_sender_and_the_number_of_further_recipients(box: Mailbox) -> None:
    put(box, mail(), accepted=("ada@example.com", "log@example.com", "x@example.com"))
    shown = text_of(ask(box, "list"))
    assert "from Leaf &amp; Cup" in shown
    assert "+2" in shown
    assert json_of(ask(box, "api/messages"))["messages"][0]["recipients"] == 3


def test_a_warning_about_a_link_is_marked_on_the_tabs_and_in_the_notes(box: Mailbox) -> None:
    number = put(box, mail(html='<a href="http://localhost:8000/reset">Reset</a>'))
    page = text_of(ask(box, f"messages/{number}/?view=notes"))
    assert "1 link has a warning: see Links." in page
    assert "Nothing looks wrong" not in page
    assert 'Links <span class="count hot">1</span>' in page
