"""`examples/django_shop`, started as its README says and called over HTTP."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from support.dkim import RSA, key_for, pem_of, records, verify
from support.ports import free_port
from support.server import MailServer

pytest.importorskip("django")

STRICT = ("-W", "error::DeprecationWarning", "-W", "error::PendingDeprecationWarning")
SHOP = Path(__file__).parents[2] / "examples" / "django_shop"


def environment(server: MailServer, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {
        **kept,
        "MAIL_DEMO_HOST": server.host,
        "MAIL_DEMO_PORT": str(server.port),
        "MAIL_DEMO_USER": "user",
        "MAIL_DEMO_PASSWORD": "secret",
        "MAIL_DEMO_CAFILE": server.cafile,
        **more,
    }


class Shop:
    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)

    def request(self, path: str, data: Any = None, **headers: str) -> tuple[int, str]:
        if isinstance(data, dict) and headers.get("Content-Type") == "application/json":
            data = json.dumps(data).encode()
        elif isinstance(data, dict):
            data = urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(self.base + path, data, headers)  # noqa: S310
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def api(self, path: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        status, text = self.request(path, fields, **{"Content-Type": "application/json"})
        return status, json.loads(text)

    def submit(self, path: str, action: str | None = None, **fields: Any) -> tuple[int, str]:
        """Open a page and submit its form with these values."""
        _, page = self.request(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        return self.request(action or path, {"csrfmiddlewaretoken": token[1], **fields})


@contextmanager
def running(command: Sequence[str], env: dict[str, str], port: int) -> Iterator[Shop]:
    process = subprocess.Popen(  # noqa: S603 - the command is written below
        [sys.executable, *STRICT, *command],
        cwd=SHOP,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(process.communicate()[0]) from None
                time.sleep(0.05)
        yield Shop(port)
    finally:
        process.terminate()
        written = process.communicate(timeout=15)[0]
        print(written)
    # What a view raised is logged with a traceback; a process that ends with one is a fault.
    assert "Exception ignored" not in written


@contextmanager
def serving(server: MailServer, **more: str) -> Iterator[Shop]:
    port = free_port()
    command = ["manage.py", "serve", f"127.0.0.1:{port}"]
    with running(command, environment(server, **more), port) as shop:
        yield shop


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        yield server


@pytest.fixture(scope="module")
def started(server: MailServer) -> Iterator[Shop]:
    with serving(server) as shop:
        yield shop


@pytest.fixture
def shop(started: Shop, server: MailServer) -> Shop:
    server.messages.clear()
    return started


def parts(message: EmailMessage) -> dict[str, EmailMessage]:
    return {part.get_content_type(): part for part in message.walk()}  # type: ignore[misc]


def test_an_order_sends_text_html_inline_image_and_pdf(shop: Shop, server: MailServer) -> None:
    status, answer = shop.api("/api/orders/", email="ada@example.com", quantity=2)

    assert status == 201
    received = server.message
    assert answer["receipt"]["accepted"] == ["ada@example.com"] == list(received.rcpt_tos)
    assert answer["receipt"]["message_id"] == received.message["Message-ID"]
    assert received.is_tls
    assert received.user == "user"
    assert received.message["Subject"] == answer["subject"]
    assert received.message["Auto-Submitted"] == "auto-generated"  # the receiver of pre_send
    found = parts(received.message)
    assert "Total: 29.80 EUR" in found["text/plain"].get_content()
    image = found["image/png"]
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in found["text/html"].get_content()
    assert image.get_content() == (SHOP / "shop/static/shop/logo.png").read_bytes()
    pdf = found["application/pdf"]
    assert pdf.get_filename() == f"invoice-{answer['order']}.pdf"
    assert pdf.get_content().startswith(b"%PDF-1.4")
    related = found["multipart/related"]
    assert [part.get_content_type() for part in related.iter_parts()] == ["text/html", "image/png"]


def test_ten_orders_go_over_one_connection(server: MailServer) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as fresh, serving(fresh) as shop:
        for _ in range(10):
            status, _ = shop.api("/api/orders/", email="ada@example.com")
            assert status == 201
        assert len(fresh.messages) == 10
        assert fresh.connections == 1


def test_an_order_from_the_page_shows_the_receipt(shop: Shop, server: MailServer) -> None:
    status, page = shop.submit(
        "/", "/orders/", email="ada@example.com", product="pot", quantity="1"
    )

    assert status == 201
    assert "accepted for 1 recipient" in page
    assert "Teapot" in str(server.message.message["Subject"])


def test_a_refused_copy_is_in_the_receipt(shop: Shop, server: MailServer) -> None:
    server.refuse("gone@example.com", times=1)
    status, answer = shop.api("/api/orders/", email="ada@example.com", copy_to="gone@example.com")

    assert status == 201
    assert answer["receipt"]["refused"] == {"gone@example.com": "550 5.1.1 No such user"}


@pytest.mark.parametrize(
    ("reply", "status", "try_again"),
    [("550 5.1.1 No such user", 502, False), ("451 4.3.0 Try later", 503, True)],
)
def test_a_refused_order_says_whether_it_may_be_tried_again(
    shop: Shop, server: MailServer, reply: str, status: int, try_again: bool
) -> None:
    server.refuse("refused@example.com", reply, times=1)
    answered, answer = shop.api("/api/orders/", email="refused@example.com")

    assert (answered, answer["try_again"]) == (status, try_again)
    assert answer["outcome"] == "refused"
    assert reply in answer["error"]


def test_an_invalid_address_is_refused_before_anything_is_sent(
    shop: Shop, server: MailServer
) -> None:
    status, answer = shop.api("/api/orders/", email="ada\n@example.com")

    assert status == 400
    assert "email" in answer["errors"]
    assert server.messages == []


def test_djangos_password_reset_works(shop: Shop, server: MailServer) -> None:
    status, page = shop.submit("/password-reset/", email="ada@example.com")

    assert status == 200
    assert "a mail with a link is on its way" in page
    link = re.search(r"http://\S+", server.message.message.get_content())
    assert link
    path = urllib.parse.urlsplit(link[0]).path
    with shop.opener.open(shop.base + path, timeout=30) as answer:
        set_path = urllib.parse.urlsplit(answer.geturl()).path  # where Django redirects to
    status, page = shop.submit(set_path, new_password1="Violets-7-9", new_password2="Violets-7-9")
    assert "Your password has been changed." in page


def test_the_receipt_of_a_password_reset_is_in_the_signal(shop: Shop, server: MailServer) -> None:
    status, answer = shop.api("/api/password-reset/", email="ada@example.com")

    assert status == 202
    assert answer["receipt"]["message_id"] == server.message.message["Message-ID"]


def test_a_newsletter_continues_after_a_refusal_and_reports_each_recipient(
    shop: Shop, server: MailServer
) -> None:
    server.refuse("b@example.com", times=1)
    status, answer = shop.api(
        "/api/newsletter/", recipients="a@example.com, b@example.com, c@example.com"
    )

    assert status == 207
    assert [bool(result["receipt"]) for result in answer["results"]] == [True, False, True]
    assert "No such user" in answer["results"][1]["error"]
    assert len(server.messages) == 2


def test_unsubscribed_customers_get_no_newsletter(shop: Shop, server: MailServer) -> None:
    status, answer = shop.api("/api/newsletter/", recipients="a@example.com, no-news@example.com")
    assert status == 200
    assert answer["results"][1] == {"to": "no-news@example.com", "receipt": None, "error": None}
    assert server.message.rcpt_tos == ("a@example.com",)


def test_the_newsletter_is_signed_and_left_by_one_click(server: MailServer, tmp_path: Path) -> None:
    key = key_for(selector="shop")
    tmp_path.joinpath("shop.pem").write_text(str(pem_of(RSA, 0).reveal()))
    server.messages.clear()
    settings = {
        "SHOP_SITE": "https://shop.example.com",
        "SHOP_DKIM_KEY": str(tmp_path / "shop.pem"),
    }
    with serving(server, **settings) as shop:
        status, answer = shop.api("/api/newsletter/", recipients="ada@example.com, b@example.com")
        assert status == 200
        received = {each.rcpt_tos[0]: each for each in server.messages}
        assert received.keys() == {"ada@example.com", "b@example.com"}
        news = received["ada@example.com"]
        assert verify(news.content, records(key)) == [True]
        assert news.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        link = str(news.message["List-Unsubscribe"]).strip(" <>")
        place = link.removeprefix("https://shop.example.com")
        # As a mail program: without cookies, and a scanner before it.
        assert Shop(int(shop.base.rpartition(":")[2])).request(place)[0] == 200
        assert shop.request(place, {"List-Unsubscribe": "One-Click"})[0] == 200
        server.messages.clear()
        status, answer = shop.api("/api/newsletter/", recipients="ada@example.com, b@example.com")
        assert "unsubscribed, for the stream 'newsletter'" in answer["results"][0]["error"]
        assert [each.rcpt_tos for each in server.messages] == [("b@example.com",)]
        # Orders still reach her.
        status, _ = shop.api("/api/orders/", email="ada@example.com", product="tea", quantity=1)
        assert status == 201
        assert server.messages[-1].rcpt_tos == ("ada@example.com",)
        assert verify(server.messages[-1].content, records(key)) == [True]


def test_a_partly_refused_recall_lists_the_customers_to_telephone(
    shop: Shop, server: MailServer
) -> None:
    server.refuse("gone@example.com", times=1)
    status, answer = shop.api("/api/recall/", recipients="ada@example.com, gone@example.com")
    assert (status, answer) == (207, {"telephone": ["gone@example.com"]})
    assert server.message.rcpt_tos == ("ada@example.com",)


def test_the_catalogue_is_sent_from_its_file(shop: Shop, server: MailServer) -> None:
    status, answer = shop.api("/api/catalogue/", email="ada@example.com")
    assert status == 202
    assert answer["receipt"]["accepted"] == ["ada@example.com"]
    [attached] = server.message.message.iter_attachments()
    path = SHOP / "shop/static/shop/catalogue.txt"
    assert attached.get_filename() == "catalogue.txt"
    assert attached.get_payload(decode=True) == path.read_bytes()


def test_a_view_that_fails_is_reported_to_the_admins(shop: Shop, server: MailServer) -> None:
    server.refuse("gone@example.com", times=1)
    status, _ = shop.request(
        "/api/catalogue/", {"email": "gone@example.com"}, **{"Content-Type": "application/json"}
    )
    assert status == 500
    assert server.message.rcpt_tos == ("operator@example.com",)
    assert "SMTPRecipientsRefused" in server.message.content.decode()


def test_the_contact_form_sends_mail_to_the_managers(shop: Shop, server: MailServer) -> None:
    status, _ = shop.api("/api/contact/", email="ada@example.com", text="Is there green tea?")
    assert status == 202
    assert server.message.rcpt_tos == ("managers@example.com",)


def test_the_doctor_and_the_checks_pass_for_the_shop(server: MailServer) -> None:
    for command in (["check", "--deploy"], ["mail_doctor", "--to", "ada@example.com"]):
        done = subprocess.run(  # noqa: S603 - written here
            [sys.executable, *STRICT, "manage.py", *command],
            cwd=SHOP,
            env=environment(server),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "mailbackends." not in done.stderr
    assert "Mail can be sent." in done.stdout


def test_the_health_view_reports_whether_mail_can_be_sent(shop: Shop, server: MailServer) -> None:
    status, text = shop.request("/health/mail/")

    assert (status, json.loads(text)["is_ok"]) == (200, True)
    assert json.loads(text)["server"] == f"{server.host}:{server.port}"


def test_on_staging_all_mail_goes_to_one_address(server: MailServer) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as fresh:
        with serving(fresh, MAIL_DEMO_REDIRECT="tester@example.com") as shop:
            shop.api("/api/orders/", email="ada@example.com")
        assert fresh.message.rcpt_tos == ("tester@example.com",)
        assert fresh.message.message["X-Original-Recipients"] == "ada@example.com"
        assert fresh.message.message["To"] == "ada@example.com"


def test_the_shop_runs_with_djangos_own_backend(server: MailServer) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as fresh:
        with serving(fresh, MAIL_DEMO_BACKEND="django") as shop:
            answers = [shop.api("/api/orders/", email="ada@example.com") for _ in range(2)]
        assert [(status, answer["receipt"]) for status, answer in answers] == [(201, None)] * 2
        assert len(fresh.messages) == fresh.connections == 2


def test_with_the_outbox_the_confirmation_is_stored_with_the_order(tmp_path: Path) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as fresh:
        more = {"SHOP_OUTBOX": "1", "SHOP_DATABASE": str(tmp_path / "shop.sqlite3")}
        with serving(fresh, **more) as shop:
            status, answer = shop.api("/api/orders/", email="ada@example.com")
            assert (status, answer["receipt"]["outcome"]) == (201, "pending")
            assert fresh.messages == []
            for _ in range(2):
                done = subprocess.run(  # noqa: S603
                    [sys.executable, *STRICT, "manage.py", "outbox", "work", "--once"],
                    cwd=SHOP,
                    env=environment(fresh, **more),
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert done.returncode == 0, done.stderr
        assert fresh.message.rcpt_tos == ("ada@example.com",)
        assert fresh.message.message["Message-ID"] == answer["receipt"]["message_id"]
        assert fresh.message.user == "user"


def test_the_shops_own_tests_pass(server: MailServer) -> None:
    done = subprocess.run(  # noqa: S603 - written here
        [sys.executable, *STRICT, "manage.py", "test"],
        cwd=SHOP,
        env=environment(server),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran \d+ tests", done.stderr)


def test_the_shops_tests_with_a_real_server_pass() -> None:
    pytest.importorskip("pytest_django")
    plugins = ("-p", "mailbackends.testing.plugin", "-p", "django_integration.pytest_plugin")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", *plugins],
        cwd=SHOP,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b[5-9] passed", done.stdout), done.stdout


def test_under_an_asgi_server_async_views_send_over_the_connections_of_the_loop(
    server: MailServer,
) -> None:
    pytest.importorskip("uvicorn")
    server.messages.clear()
    before, port = server.connections, free_port()
    others = server.open_connections  # those of the shop that the other tests share
    command = ["-m", "uvicorn", "shop.asgi:application", f"--port={port}", "--log-level=warning"]
    with running(command, environment(server), port) as shop:
        with ThreadPoolExecutor(12) as customers:
            answers = list(
                customers.map(
                    lambda number: shop.api("/api/catalogue/", email=f"user{number}@example.com"),
                    range(12),
                )
            )
        assert {status for status, _ in answers} == {202}
        assert all(answer["receipt"]["accepted"] for _, answer in answers)
    assert len(server.messages) == 12
    assert server.connections - before <= 4
    server.wait(lambda: server.open_connections <= others)
