"""The demonstration: call the views of each application, and show the results."""

from __future__ import annotations

import logging
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from application import Application, ApplicationFailed, Response
from report import Report, milliseconds

from mailbackends import Email, Mailer, Options, Outcome, SMTPException
from mailbackends.testing.server import LoopbackServer, ReceivedMail

__all__ = ["Demonstration", "DemonstrationFailed"]

EXAMPLES = Path(__file__).parents[1]

CUSTOMER = "ada@example.com"
_GONE = "gone@example.com"
_LEASE = 10  # seconds: the shortest that the outbox takes
_USER = "shop"
ORDER = "order confirmation"
RESET = "password reset"


class DemonstrationFailed(Exception):
    """A result differs from what is promised; the text describes it."""


@dataclass(frozen=True)
class Shop:
    """How to start an example, and to call its two views."""

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    order_path: str = "/api/orders/"
    reset_path: str = "/api/password-reset/"
    is_compared: bool = False
    """True for the application that is only there for comparison."""


_DJANGO = ("manage.py", "serve", "127.0.0.1:{port}")

SHOPS = (
    Shop("Django, mailbackends", _DJANGO, EXAMPLES / "django_shop"),
    Shop(
        "Flask, mailbackends",
        ("-m", "flask", "--app", "flask_shop", "run", "--port", "{port}"),
        EXAMPLES,
    ),
    Shop(
        "Django, its own SMTP backend",
        _DJANGO,
        EXAMPLES / "django_shop",
        {"MAIL_DEMO_BACKEND": "django"},
        is_compared=True,
    ),
    Shop(
        "Flask, Flask-Mail",
        ("-m", "flask", "--app", "demo/flask_mail_shop.py", "run", "--port", "{port}"),
        EXAMPLES,
        is_compared=True,
    ),
)


@dataclass
class Results:
    """The results of one application."""

    shop: Shop
    connections: int = 0
    """Counted at the mail server."""
    mails: int = 0
    first: float = 0.0
    """The first request, in seconds: an order."""
    following: list[float] = field(default_factory=list)
    """The further requests for orders, in seconds."""


@dataclass(frozen=True)
class Case:
    """Something that goes wrong, and what the application gets."""

    name: str
    result: str


class Demonstration:
    """Calls each application ``requests`` times; the mail server delays each reply."""

    def __init__(self, report: Report, requests: int, delay: float) -> None:
        self.report = report
        self.requests = requests
        self.delay = delay

    def run(self) -> None:
        """Run and show everything.

        Raises:
            DemonstrationFailed: a result differs from what is promised.
        """
        password = secrets.token_urlsafe(12)
        with LoopbackServer(tls="starttls", login=(_USER, password), delay=self.delay) as server:
            self._introduce(server)
            all_results = [self._call(shop, server) for shop in SHOPS]
            cases = [self._refused(server), self._broken(server), self._killed(server)]
        self._summarise(all_results, cases)

    def _introduce(self, server: LoopbackServer) -> None:
        self.report.heading("The mail server")
        self.report.note(
            f"aiosmtpd on {server.host}:{server.port}, with STARTTLS, a login and a certificate "
            "made for this run. Nothing leaves this machine."
        )
        if self.delay:
            self.report.note(
                f"It delays each reply by {milliseconds(self.delay)}, as a distant server would."
            )

    def _call(self, shop: Shop, server: LoopbackServer) -> Results:
        self.report.heading(shop.name)
        results = Results(shop)
        before = server.connections
        environment = {**self._environment(server), **shop.environment}
        try:
            with Application(shop.command, environment, str(shop.folder)) as application:
                for number in range(1, self.requests + 1):
                    self._request(results, number, application, server)
        except (ApplicationFailed, TimeoutError) as error:
            raise DemonstrationFailed(f"{shop.name}: {error}") from error
        results.connections = server.connections - before
        self._conclude(results)
        return results

    def _environment(self, server: LoopbackServer) -> dict[str, str]:
        return {
            "MAIL_DEMO_HOST": server.host,
            "MAIL_DEMO_PORT": str(server.port),
            **dict(zip(("MAIL_DEMO_USER", "MAIL_DEMO_PASSWORD"), server.login or (), strict=True)),
            "MAIL_DEMO_CAFILE": server.cafile or "",
            # Django's own backend has no setting for the authority to trust.
            "SSL_CERT_FILE": server.cafile or "",
        }

    def _request(
        self, results: Results, number: int, application: Application, server: LoopbackServer
    ) -> None:
        shop = results.shop
        view = RESET if number == 2 else ORDER
        seen = len(server.messages)
        if view == ORDER:
            order = {"email": CUSTOMER, "product": "tea", "quantity": "2"}
            response = application.post(shop.order_path, order)
        else:
            response = application.post(shop.reset_path, {"email": CUSTOMER})
        mail = server.wait_for(seen + 1)[seen]
        results.mails += 1
        if number == 1:
            results.first = response.seconds
        elif view == ORDER:
            results.following.append(response.seconds)
        self._show(results, number, view, mail, response)

    def _show(
        self, results: Results, number: int, view: str, mail: ReceivedMail, response: Response
    ) -> None:
        if results.shop.is_compared:
            return
        if number == 1:
            self.report.mail(
                f"Request {number}: {view}", mail, _receipt(response.body), response.seconds
            )
        else:
            self.report.mail_in_a_line(number, mail, response.seconds)

    def _conclude(self, results: Results) -> None:
        self.report.note(
            f"{self.requests} requests, {results.mails} mails, "
            f"{results.connections} connection{'s' if results.connections != 1 else ''} "
            "at the mail server."
        )
        if not results.shop.is_compared and results.connections != 1:
            raise DemonstrationFailed(
                f"{results.shop.name}: expected one connection, got {results.connections}"
            )

    def _refused(self, server: LoopbackServer) -> Case:
        server.refuse(_GONE)
        logging.getLogger("mailbackends").addHandler(logging.NullHandler())  # shown below
        with Mailer(Options(**server.options)) as mailer:
            receipt = mailer.send_message(_email(CUSTOMER, _GONE))
        server.clear()
        if receipt.accepted != (CUSTOMER,) or set(receipt.refused) != {_GONE}:
            raise DemonstrationFailed(f"a refused recipient: the receipt is wrong: {receipt}")
        return Case(
            "one of two recipients does not exist",
            f"the receipt: {CUSTOMER} accepted, {_GONE} refused: {receipt.refused[_GONE]}",
        )

    def _broken(self, server: LoopbackServer) -> Case:
        server.fail_next(None, at="content")
        try:
            with Mailer(Options(**server.options)) as mailer:
                mailer.send_message(_email(CUSTOMER))
        except SMTPException as error:
            if error.outcome is not Outcome.UNKNOWN:
                raise DemonstrationFailed(f"a broken connection: {error}") from error
            return Case(
                "the connection breaks after the last byte",
                f'outcome "{error.outcome}": it may have been delivered, so it is not sent again',
            )
        raise DemonstrationFailed("a broken connection: the mail counts as sent")

    def _killed(self, server: LoopbackServer) -> Case:
        """Kill a worker that has begun to send; another sends the mail, once."""
        shop = SHOPS[0]
        work = [sys.executable, "manage.py", "outbox", "work", "--poll", "0.2"]
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                **self._environment(server),
                "SHOP_OUTBOX": "1",
                "SHOP_DATABASE": str(Path(folder, "shop.sqlite3")),
                "SHOP_OUTBOX_LEASE": str(_LEASE),
            }
            environment.pop("PYTHONSAFEPATH", None)
            with Application(shop.command, environment, str(shop.folder)) as application:
                order = {"email": CUSTOMER, "product": "tea", "quantity": "2"}
                application.post(shop.order_path, order)
            arrived, connections = len(server.messages), server.connections
            for kill in (True, False):
                with subprocess.Popen(  # noqa: S603 - the command is written above
                    work,
                    cwd=shop.folder,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ) as worker:
                    try:
                        if kill:
                            _wait(lambda: server.connections > connections)
                            worker.kill()
                        else:
                            _wait(lambda: len(server.messages) > arrived)
                            time.sleep(1)  # for a second copy, which must not come
                    finally:
                        worker.terminate()
        if len(server.messages) != arrived + 1:
            count = len(server.messages) - arrived
            raise DemonstrationFailed(f"a killed worker: the mail arrived {count} times")
        return Case(
            "kill -9 for a worker of the outbox while it sends",
            f"another worker takes over after {_LEASE} s; the mail arrived once",
        )

    def _summarise(self, all_results: list[Results], cases: list[Case]) -> None:
        self.report.heading("Summary: a view that sends an order confirmation")
        self.report.table(
            ("", "connections", "first request", "following requests (median)"),
            [
                (
                    results.shop.name,
                    str(results.connections),
                    milliseconds(results.first),
                    milliseconds(statistics.median(results.following)),
                )
                for results in all_results
            ],
            best=sum(not results.shop.is_compared for results in all_results),
        )
        self.report.note("What the application gets when something goes wrong:")
        self.report.table(
            ("", "what it gets"), [(case.name, case.result) for case in cases], best=0, right=False
        )
        version = ".".join(map(str, sys.version_info[:3]))
        self.report.note(
            f"Measured in this run, on Python {version}, over HTTP, rendering included."
        )
        ours, others = (
            [
                statistics.median(one.following)
                for one in all_results
                if one.shop.is_compared is kind
            ]
            for kind in (False, True)
        )
        if ours and others:
            saved = statistics.mean(others) - statistics.mean(ours)
            self.report.note(
                f"What you gain: each request waits {milliseconds(saved)} less for its mail, over "
                "one connection instead of one for each mail, and the application knows what "
                "became of every message."
            )


def _wait(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        if time.monotonic() > ends:
            raise DemonstrationFailed("a worker of the outbox did nothing for a minute")
        time.sleep(0.002)


def _email(*recipients: str) -> Email:
    return Email(
        subject="Your order", sender="shop@leafandcup.example", to=[*recipients], text="On its way."
    )


def _receipt(body: Mapping[str, object]) -> str:
    receipt = body.get("receipt")
    if not isinstance(receipt, dict):
        raise DemonstrationFailed(f"the view returned no receipt: {body}")
    refused = ", ".join(f"{to}: {reply}" for to, reply in receipt["refused"].items())
    seconds = receipt["seconds"] if "seconds" in receipt else receipt["milliseconds"] / 1000
    return (
        f"accepted: {', '.join(receipt['accepted'])}; refused: {refused or 'none'}; "
        f"{receipt['reply']}; {milliseconds(seconds)}"
    )
