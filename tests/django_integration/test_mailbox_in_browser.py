"""The mailbox in headless Chromium, as a developer uses it: mail sent by a Django view.

The pictures in docs/ are made here. With MAILBACKENDS_TESTS_PICTURES=1 they are written
there; without, into a folder of the test.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import WSGIServer, make_server

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")
pytest.importorskip("selenium", reason="selenium is not installed here")

from socketserver import ThreadingMixIn

from django.core.handlers.wsgi import WSGIHandler
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from django_integration import attach_inline_image
from django_integration.mailbox import get_mailbox
from django_integration.mailbox.settings import close_mailbox
from mailbackends.mailbox import Fault
from mailbackends.mailbox.wsgi import _Handler
from mailbackends.previews import preview
from support.browser import Browser, wait_for
from support.mailbox import PDF, SAMPLE_HTML, png

from .conftest import Use

DOCS = Path(__file__).parents[2] / "docs"
LARGEST = 120_000  # bytes of a picture
SCREENS = {
    "desktop-light": (1200, 760, "light"),
    "desktop-dark": (1200, 760, "dark"),
    "phone-light": (390, 780, "light"),
    "phone-dark": (390, 780, "dark"),
}
ATTACK = """<p id="shown">Hello</p>
<script>document.getElementById("shown").textContent = "script ran"</script>
<img src="x:y" onerror="top.document.title = 'taken over'">
<a id="link" href="javascript:top.document.title='taken over'">click</a>
<form action="/mailbox/delete" method="post"><button>Delete</button></form>
<base target="_top"><meta http-equiv="refresh" content="0;url=/mailbox/faults/">
<style>body { background: url(http://127.0.0.1:9/leak) }</style>
<div style="position:fixed;inset:0;z-index:9999;background:red"></div>"""


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False


def order(request: HttpRequest) -> HttpResponse:
    """A view that sends a mail."""
    message = EmailMultiAlternatives(
        request.GET.get("subject", "Your order 1042 is on its way"),
        request.GET.get("text", "Thank you, Ada! It is on its way:\n")
        + "\nhttps://leafandcup.example/orders/1042\n",
        "Leaf & Cup <shop@leafandcup.example>",
        [request.GET.get("to", "Ada Lovelace <ada@example.com>")],
        cc=request.GET.getlist("cc"),
        bcc=request.GET.getlist("bcc"),
    )
    html = ATTACK if "attack" in request.GET else SAMPLE_HTML
    if "plain" not in request.GET:
        if "attack" not in request.GET:
            logo = attach_inline_image(message, png(), filename="logo.png")
            html = html.replace("cid:logo@shop", str(logo))
        message.attach_alternative(html, "text/html")
    if "file" in request.GET:
        message.attach(request.GET["file"], PDF, "application/pdf")
    try:
        message.send()
    except OSError as error:
        return HttpResponse(f"Not sent: {error}")
    return HttpResponse("Sent.")


@pytest.fixture
def site(use_settings: Use, use_email_settings: Use) -> Iterator[str]:
    """A project on loopback with the view and the mailbox; its address."""
    urls = types.ModuleType("browser_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("order/", order),
        path("mailbox/", include("django_integration.mailbox.urls")),
    ]
    sys.modules["browser_urls"] = urls
    use_settings(
        DEBUG=True,
        ROOT_URLCONF="browser_urls",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    use_email_settings(backend="django_integration.mailbox.EmailBackend")
    server = make_server("127.0.0.1", 0, WSGIHandler(), Server, _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    close_mailbox()
    server.shutdown()
    thread.join()
    server.server_close()
    del sys.modules["browser_urls"]


def visit(url: str) -> str:
    with urlopen(url, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


def test_a_developer_sees_opens_downloads_and_deletes_a_mail(chromium: Browser, site: str) -> None:
    chromium.look_like(1200, 760, "light")
    chromium.open(f"{site}/mailbox/")
    assert "Waiting for the first mail" in chromium.text("main")
    chromium.run("window.stayed = true")

    assert visit(f"{site}/order/?file=invoice-1042.pdf") == "Sent."
    wait_for(lambda: "Your order 1042" in chromium.text("#list"))
    assert chromium.run("return window.stayed"), "the page was loaded anew"
    assert chromium.run("return document.title").startswith("(1) ")

    chromium.one("#list .line").click()
    wait_for(lambda: chromium.all("#frame"))
    with chromium.inside("#frame"):
        assert "Thank you, Ada!" in wait_for(lambda: chromium.text("h1"))
        assert chromium.run("return document.images[0].naturalWidth") == 44

    chromium.one(".save").click()
    downloads: Path = chromium.downloads  # type: ignore[attr-defined]
    saved = downloads / "invoice-1042.pdf"
    wait_for(lambda: saved.exists() and saved.read_bytes() == PDF)

    for view, shown in (("text", "https://leafandcup"), ("headers", "DMARC"), ("links", "mailto:"),
                        ("source", "multipart"), ("receipt", "Accepted for 1 of 1")):  # fmt: skip
        chromium.one(f".tabs a[href*='view={view}']").click()
        wait_for(lambda shown=shown: shown in chromium.text(".panel"))

    chromium.one("#delete").click()
    wait_for(lambda: "No mail yet" in chromium.text("#list"))
    assert get_mailbox().store.count() == 0
    assert chromium.complaints() == []


def test_everything_is_reached_on_a_narrow_phone(chromium: Browser, site: str) -> None:
    visit(f"{site}/order/?file=invoice-1042.pdf&cc=grace@example.com&bcc=log@example.com")
    chromium.look_like(360, 640, "light")
    chromium.open(f"{site}/mailbox/")
    line = chromium.text("#list .who")
    assert "Ada Lovelace +2" in line
    assert "from Leaf & Cup" in line
    assert _is_on_the_screen(chromium, "#list .count")
    assert _is_on_the_screen(chromium, "#list .sender")
    chromium.one("#list .pick").click()
    wait_for(lambda: _is_on_the_screen(chromium, "#delete-selected"))

    chromium.open(f"{site}/mailbox/messages/1/")
    people = chromium.text(".people")
    assert "cc grace@example.com" in people
    assert "bcc log@example.com" in people
    views = ["html", "text", "headers", "links", "source", "receipt", "notes"]
    for view in views:
        tab = f".tabs a[href*='view={view}']"
        assert _is_on_the_screen(chromium, tab), view
        chromium.one(tab).click()
        wait_for(lambda tab=tab: chromium.all(f"{tab}[aria-current]"))
    for action in (".actions [download]", "#delete", ".save", ".back"):
        assert _is_on_the_screen(chromium, action), action
    assert chromium.run("return document.documentElement.scrollWidth") <= 360
    chromium.one(".actions [download]").click()
    downloads: Path = chromium.downloads  # type: ignore[attr-defined]
    wait_for(
        lambda: any(b"Your order 1042" in each.read_bytes() for each in downloads.glob("*.eml"))
    )


def _is_on_the_screen(chromium: Browser, selector: str) -> bool:
    """True if the element's whole box is within the window and nothing covers its centre."""
    script = """
        const element = document.querySelector(arguments[0]), box = element.getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return box.width > 0 && box.left >= 0 && box.top >= 0 && box.right <= innerWidth
            && box.bottom <= innerHeight && element.contains(top);
    """
    return bool(chromium.driver.execute_script(script, selector))


def test_a_hostile_mail_neither_runs_nor_loads_nor_breaks_out(chromium: Browser, site: str) -> None:
    visit(f"{site}/order/?attack=1&subject=<img src=x onerror=alert(1)>".replace(" ", "%20"))
    chromium.open(f"{site}/mailbox/messages/1/")
    with chromium.inside("#frame"):
        wait_for(lambda: chromium.text("#shown"))
        assert chromium.text("#shown") == "Hello"
        assert chromium.all("script, form, base, meta[http-equiv], button") == []
        assert chromium.run("return window.origin") == "null"
    assert chromium.run("return document.title").startswith("<img src=x onerror=alert(1)>")
    assert chromium.run("return location.pathname") == "/mailbox/messages/1/"
    loaded = chromium.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith(site) for name in loaded)
    assert get_mailbox().store.count() == 1


def test_the_sandbox_alone_stops_what_the_cleaning_would_have_missed(
    chromium: Browser, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailbackends.mailbox import markup

    # A cleaning that lets all through.
    monkeypatch.setattr(markup.nh3, "clean", lambda html, **_: html)
    monkeypatch.setattr(markup, "_CSS_URL", markup.re.compile("(?!)"))
    visit(f"{site}/order/?attack=1")
    chromium.open(f"{site}/mailbox/messages/1/")
    with chromium.inside("#frame"):
        wait_for(lambda: chromium.text("#shown"))
        assert len(chromium.all("script, form, base, meta[http-equiv]")) == 4
        chromium.run("document.getElementById('link').click()")
        assert chromium.text("#shown") == "Hello"
        assert chromium.run("return location.pathname") == "/mailbox/messages/1/frame"
    assert "taken over" not in chromium.run("return document.title")
    assert chromium.run("return location.pathname") == "/mailbox/messages/1/"
    assert get_mailbox().store.count() == 1


def test_selected_messages_are_deleted_and_a_selection_survives_new_mail(
    chromium: Browser, site: str
) -> None:
    chromium.look_like(1200, 760, "light")
    for subject in ("First", "Second", "Third"):
        visit(f"{site}/order/?plain=1&subject={subject}")
    chromium.open(f"{site}/mailbox/")
    assert not chromium.one("#delete-selected").is_displayed()
    chromium.all("#list .pick")[0].click()
    chromium.all("#list .pick")[2].click()
    visit(f"{site}/order/?plain=1&subject=Fourth")
    wait_for(lambda: len(chromium.all("#list .line")) == 4)
    chromium.one("#delete-selected").click()
    wait_for(lambda: len(chromium.all("#list .line")) == 2)
    assert "Fourth" in chromium.text("#list")
    assert "Second" in chromium.text("#list")


def test_search_finds_while_typing_and_keys_go_through_the_list(
    chromium: Browser, site: str
) -> None:
    chromium.look_like(1200, 760, "light")
    for subject in ("First", "Second", "Third"):
        visit(f"{site}/order/?plain=1&subject={subject}")
    chromium.open(f"{site}/mailbox/")
    chromium.one("#search").send_keys("second")
    wait_for(lambda: len(chromium.all("#list .line")) == 1)
    assert "Second" in chromium.text("#list .subject")
    chromium.open(f"{site}/mailbox/")
    chromium.one("body").send_keys("j")
    wait_for(lambda: chromium.text("h1") == "Third")
    chromium.one("body").send_keys("j")
    wait_for(lambda: chromium.text("h1") == "Second")


def test_a_fault_set_in_the_page_reaches_the_view(chromium: Browser, site: str) -> None:
    chromium.open(f"{site}/mailbox/faults/")
    chromium.one("#kind").send_keys("Close the connection")
    wait_for(lambda: not chromium.one("[name=reply]").is_displayed())
    chromium.one("[name=times]").send_keys("1")
    chromium.one("button.primary").click()
    wait_for(lambda: "1 more time" in chromium.text(".faults"))
    assert visit(f"{site}/order/").startswith("Not sent")
    chromium.open(f"{site}/mailbox/")
    assert "unknown" in chromium.text("#list")


@pytest.mark.parametrize("screen", SCREENS)
def test_the_pictures_in_the_documentation(
    chromium: Browser, site: str, screen: str, tmp_path: Path
) -> None:
    box = get_mailbox()
    box.faults.add(Fault("reject", "alan@*", times=1))
    for query in (
        "to=Grace%20Hopper%20<grace@example.com>&subject=Reset%20your%20password&plain=1&text=This%20link%20is%20good%20for%20an%20hour.",
        "to=Alan%20Turing%20<alan@example.com>&subject=Your%20invoice&plain=1&file=invoice.pdf&text=November,%20attached.",
        "to=Katherine%20Johnson%20<kj@example.com>&subject=New%20tea%20has%20arrived&text=Spring%20in%20Darjeeling.",
        "to=Ada%20Lovelace%20<ada@example.com>&file=invoice-1042.pdf",
    ):
        visit(f"{site}/order/?{query}")
    width, height, colours = SCREENS[screen]
    chromium.look_like(width, height, colours)
    folder = DOCS if os.environ.get("MAILBACKENDS_TESTS_PICTURES") else tmp_path

    views = {"message": "messages/4/", "list": ""} if width < 600 else {"message": "messages/4/"}
    for name, place in views.items():
        chromium.open(f"{site}/mailbox/{place}")
        if name == "message":
            with chromium.inside("#frame"):
                wait_for(lambda: chromium.run("return document.images[0]?.complete"))
        else:
            wait_for(lambda: len(chromium.all(".line")) == 4)
        assert chromium.run("return document.documentElement.scrollWidth") <= width
        dark = chromium.run("return getComputedStyle(document.body).backgroundColor")
        assert dark == ("rgb(16, 19, 18)" if colours == "dark" else "rgb(243, 244, 241)")
        picture = folder / f"mailbox-{screen}-{name}.png"
        chromium.picture(picture)
        assert 5_000 < picture.stat().st_size < LARGEST
        assert picture.name in (DOCS / "mailbox.md").read_text("utf-8")


def test_previews_are_shown_in_the_browser(chromium: Browser, site: str) -> None:
    @preview("Order confirmation", name="browser-order", group="Orders")
    def confirmation() -> EmailMultiAlternatives:
        """Sent after an order."""
        message = EmailMultiAlternatives("Preview", "Text", to=["ada@example.com"])
        message.attach_alternative("<h1>Thank you</h1>", "text/html")
        return message

    chromium.look_like(1200, 760, "light")
    chromium.open(f"{site}/mailbox/previews/")
    chromium.one("a[href$='previews/browser-order/']").click()
    with chromium.inside("#frame"):
        wait_for(lambda: chromium.text("h1") == "Thank you")
    assert get_mailbox().store.count() == 0
