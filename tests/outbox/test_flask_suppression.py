"""The suppression list of a Flask application: asked before sending, and filled by itself."""

from __future__ import annotations

import asyncio
import json
import smtplib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask
from sqlalchemy import event

from flask_integration import Mail, Message, email_failed
from flask_integration.backends import Backend, local_receipt
from flask_integration.outbox import outbox_group
from flask_integration.posting import Posting
from flask_integration.suppression import suppression_group, suppression_of
from flask_integration.unsubscribe import blueprint, unsubscribe_url
from mailbackends import (
    ConfigurationError,
    Outcome,
    Receipt,
    RecipientsSuppressed,
    SuppressionError,
)
from mailbackends.suppression import Reason, new_entry
from support.sink import Sink

ADA, BEN = "ada@example.net", "ben@example.net"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def app(sink: Sink, tmp_path: Path) -> Iterator[Flask]:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="a secret for the tests",
        MAIL_URL=sink.url,
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAIL_SUPPRESSION=True,
        MAIL_SUPPRESSION_DATABASE=f"sqlite:///{tmp_path / 'app.sqlite3'}",
        MAIL_UNSUBSCRIBE_URL="https://www.example.com/unsubscribe/",
        MAIL_BOUNCE_ADDRESS="bounces@example.com",
    )
    Mail(app)
    app.register_blueprint(blueprint)
    run(app, "create-tables")
    yield app
    app.extensions["mail"].close()
    suppression_of(app).close()


@pytest.fixture
def mail(app: Flask) -> Mail:
    mail = Mail()
    mail.app = app
    return mail


def run(app: Flask, *arguments: str, status: int = 0, **options: Any) -> str:
    group = options.pop("group", "suppression")
    command = ["mail", group] if group else ["mail"]
    result = app.test_cli_runner().invoke(args=[*command, *arguments], **options)
    assert result.exit_code == status, result.output
    return result.output


def suppress(app: Flask, address: str, scope: str = "all", **fields: Any) -> None:
    suppression_of(app).add([new_entry(address, fields.get("reason", "unsubscribed"), scope)])


def queries(app: Flask) -> list[str]:
    found: list[str] = []

    def seen(conn: Any, cursor: Any, statement: str, *args: Any) -> None:
        if statement.startswith("SELECT"):
            found.append(statement)

    event.listen(suppression_of(app).engine, "before_cursor_execute", seen)
    return found


def test_a_suppressed_recipient_is_left_out(app: Flask, mail: Mail, sink: Sink) -> None:
    suppress(app, BEN, "newsletter")
    receipt = mail.send(Message("News", [ADA, BEN], body="Hello", stream="newsletter"))
    assert receipt.outcomes == {ADA: Outcome.ACCEPTED, BEN: Outcome.SUPPRESSED}
    assert mail.send(Message("Order", [BEN], body="Hello")).accepted == (BEN,)
    assert [each.rcpt_tos for each in sink.messages] == [(ADA,), (BEN,)]


def test_a_message_for_nobody_else_raises_and_is_an_outcome_in_a_batch(
    app: Flask, mail: Mail, sink: Sink
) -> None:
    suppress(app, BEN)
    failed: list[Any] = []

    def note(sender: Flask, error: Any, **more: Any) -> None:
        failed.append(error)

    with email_failed.connected_to(note, sender=app):
        with pytest.raises(RecipientsSuppressed):
            mail.send(Message("News", [BEN], body="Hello"))
        outcomes = mail.send_many([Message("s", [to], body="Hello") for to in (BEN, ADA)])
    assert [each.outcome for each in outcomes] == [Outcome.SUPPRESSED, Outcome.ACCEPTED]
    assert [type(each) for each in failed] == [RecipientsSuppressed] * 2


def test_a_batch_is_one_query(app: Flask, mail: Mail, sink: Sink) -> None:
    seen = queries(app)
    people = [f"n{number}@example.net" for number in range(50)]
    outcomes = mail.send_many([Message("s", [to], body="x", stream="news") for to in people])
    assert len(seen) == 1
    assert {each.outcome for each in outcomes} == {Outcome.ACCEPTED}


def test_coroutines_ask_too(app: Flask, mail: Mail, sink: Sink) -> None:
    suppress(app, BEN)
    seen = queries(app)

    async def send() -> Any:
        with pytest.raises(RecipientsSuppressed):
            await mail.asend(Message("s", [BEN], body="x"))
        return await mail.asend_many([Message("s", [to], body="x") for to in (ADA, BEN)])

    outcomes = asyncio.run(send())
    assert [each.outcome for each in outcomes] == [Outcome.ACCEPTED, Outcome.SUPPRESSED]
    assert len(seen) == 2


def test_a_named_mailer_asks_too_unless_it_says_no(sink: Sink, tmp_path: Path) -> None:
    app = Flask(__name__)
    app.config.update(
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAIL_URL=sink.url,
        MAIL_SUPPRESSION=True,
        MAIL_SUPPRESSION_DATABASE=f"sqlite:///{tmp_path / 'app.sqlite3'}",
        MAIL_MAILERS={"news": sink.url, "codes": {"URL": sink.url, "SUPPRESSION": False}},
    )
    mail = Mail(app)
    run(app, "create-tables")
    suppress(app, ADA)
    with pytest.raises(RecipientsSuppressed):
        mail.using("news").send(Message("s", [ADA], body="x"))
    assert mail.using("codes").send(Message("s", [ADA], body="x")).accepted == (ADA,)
    mail.close()
    suppression_of(app).close()


def test_who_unsubscribes_gets_no_more_of_that_stream(app: Flask, mail: Mail, sink: Sink) -> None:
    mail.send(Message("News", [ADA], body="Hello", unsubscribe="newsletter"))
    field = sink.message.message["List-Unsubscribe"]
    path = field.strip("<>").removeprefix("https://www.example.com")
    client = app.test_client()
    assert client.get(path).status_code == 200
    assert suppression_of(app).check(ADA) == []
    assert client.post(path).status_code == 200
    assert client.post(path).status_code == 200  # a replay does no harm
    [entry] = suppression_of(app).check(ADA)
    assert (entry.scope, entry.reason) == ("newsletter", Reason.UNSUBSCRIBED)
    with pytest.raises(RecipientsSuppressed):
        mail.send(Message("News", [ADA], body="Hello", unsubscribe="newsletter"))
    assert mail.send(Message("Order", [ADA], body="Hello")).accepted == (ADA,)


def test_a_forged_or_expired_token_changes_nothing(app: Flask) -> None:
    suppress(app, BEN, "newsletter")
    good = unsubscribe_url(app.config, ADA, "newsletter").removeprefix("https://www.example.com")
    client = app.test_client()
    for path in (
        good[:-4] + "AAA/",
        "/unsubscribe/x/",
        good.replace("/unsubscribe/", "/unsubscribe/x"),
    ):
        assert client.post(path).status_code == 400
    app.config["MAIL_UNSUBSCRIBE_MAX_AGE"] = -1
    assert client.post(good).status_code == 400
    assert suppression_of(app).check(ADA) == []
    assert len(suppression_of(app).check(BEN)) == 1


def dsn(
    to: str, address: str, status: str = "5.1.1", action: str = "failed", more: str = ""
) -> bytes:
    return (
        f"From: mailer-daemon@example.net\nTo: {to}\n"
        "Content-Type: multipart/report; boundary=b\n\n--b\n"
        f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n{more}\n"
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\n\n--b--\n"
    ).encode()


def test_a_genuine_report_suppresses_its_recipient_and_no_other(
    app: Flask, mail: Mail, sink: Sink
) -> None:
    mail.send(Message("Order", [ADA], body="Hello"))
    sender = sink.message.mail_from
    assert sender.startswith("bounces+r")
    # A stranger; and Ada, who knows her own mark, about Ben.
    run(app, "bounces", group="", input=dsn("bounces@example.com", ADA))
    run(app, "bounces", group="", input=dsn(sender, BEN))
    assert suppression_of(app).count() == 0
    shown = json.loads(run(app, "bounces", group="", input=dsn(sender, ADA)))
    assert shown["recipients"][0]["address"] == ADA
    [entry] = suppression_of(app).check(ADA)
    assert (entry.scope, entry.reason) == ("all", Reason.HARD_BOUNCE)


def test_soft_bounces_are_counted(app: Flask, mail: Mail, sink: Sink) -> None:
    mail.send(Message("Order", [ADA], body="Hello"))
    for _ in range(4):
        run(app, "bounces", group="", input=dsn(sink.message.mail_from, ADA, "4.2.2"))
    assert suppression_of(app).check(ADA) == []
    run(app, "bounces", group="", input=dsn(sink.message.mail_from, ADA, "5.2.2"))
    [entry] = suppression_of(app).check(ADA)
    assert entry.reason is Reason.SOFT_BOUNCE
    assert entry.expires_at is not None


@pytest.mark.parametrize("policy", [None, {"refusals": True}])
def test_refused_addresses_are_added_only_if_the_policy_says_so(
    app: Flask, mail: Mail, sink: Sink, policy: dict[str, bool] | None
) -> None:
    app.config["MAIL_SUPPRESSION_POLICY"] = policy
    app.extensions.pop("mail_suppression").close()
    sink.refuse(ADA, "550 5.1.1 No such user")
    with pytest.raises(OSError, match=r"5\.1\.1"):
        mail.send(Message("s", [ADA], body="x"))
    assert [each.reason for each in suppression_of(app).check(ADA)] == (
        [Reason.REFUSED] if policy else []
    )


def test_rows_that_cannot_be_used_are_named_by_their_line(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "Email,Reason,Scope,Expires\n"
        f"{ADA},complaint,,\n"
        "not an address,,,\n"
        "\n"
        f"{BEN},bounced,,\n"
        f"{BEN},,newsletter,tomorrow\n"
        f"{BEN},,newsletter,2031-01-31\n",
        encoding="utf-8",
    )
    shown = run(app, "import", str(path), status=1)
    assert "line 3: the recipient address 'not an address'" in shown
    assert "line 5: unknown reason 'bounced': did you mean 'hard_bounce'" in shown or (
        "line 5: unknown reason 'bounced'" in shown
    )
    assert "line 6: expires_at must be a time such as" in shown
    assert "2 addresses were imported." in shown
    assert "3 rows cannot be used" in shown
    assert suppression_of(app).count() == 2
    assert run(app, "import", str(path), "--dry-run", status=1).count("line ") == 3


def test_what_export_writes_import_reads_and_no_cell_is_a_formula(
    app: Flask, tmp_path: Path
) -> None:
    store = suppression_of(app)
    store.add(
        [
            new_entry("=cmd@example.net", source="=HYPERLINK(1)", detail="+1"),
            new_entry("-2@example.net", "complaint", source="x", detail="'quoted"),
            new_entry("'x@example.net", scope="news", source="@y"),
        ]
    )
    before = list(store.entries())
    path = tmp_path / "out.csv"
    run(app, "export", str(path))
    text = path.read_text(encoding="utf-8")
    assert not any(
        cell[:1] in "=+-@" for line in text.splitlines() for cell in line.split(",") if cell
    )
    for entry in before:
        store.remove(entry.address)
    run(app, "import", str(path))
    assert list(store.entries()) == before


def test_a_large_file_is_read_in_batches(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text("address\n" + "".join(f"n{n}@example.net\n" for n in range(2500)))
    commits: list[Any] = []
    event.listen(suppression_of(app).engine, "commit", commits.append)
    assert "2500 addresses were imported." in run(app, "import", str(path))
    assert len(commits) == 3
    assert suppression_of(app).count() == 2500
    assert len(list(suppression_of(app).entries())) == 2500


@pytest.mark.parametrize(
    ("group", "what"), [("outbox", "The outbox"), ("suppression", "The suppression list")]
)
def test_commands_without_sqlalchemy_say_what_to_install(
    app: Flask, monkeypatch: pytest.MonkeyPatch, group: str, what: str
) -> None:
    monkeypatch.setitem(sys.modules, f"mailbackends.{group}.commands", None)
    found = {"outbox": outbox_group, "suppression": suppression_group}[group]
    monkeypatch.setattr(found, "commands", {})
    result = app.test_cli_runner().invoke(args=["mail", group, "prune"])
    assert result.exit_code == 1
    assert f"Error: {what} needs SQLAlchemy" in result.output
    assert "install 'mailbackends[outbox]'" in result.output


def test_add_check_and_remove(app: Flask) -> None:
    assert "ada@example.net: manual, for all mail." in run(app, "add", "Ada@Example.NET")
    assert "no mail: manual, for all mail" in run(app, "check", ADA, status=1)
    run(app, "remove", ADA)
    assert run(app, "check", ADA) == f"{ADA} gets mail.\n"
    assert "1 addresses were not on the list" in run(app, "remove", ADA, status=1)
    assert "is not an address" in run(app, "add", "ada", status=1)
    assert "1 to 50 characters" in run(app, "add", ADA, "--scope", "x" * 51, status=1)
    run(app, "add", ADA, "--days", "30", "--scope", "newsletter")
    assert "newsletter manual until 20" in run(app, "check", ADA)
    assert "import" in run(app, "--help")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "set MAIL_SUPPRESSION_DATABASE"),
        ({"MAIL_SUPPRESSION_EXEMPT": "reset"}, "MAIL_SUPPRESSION_EXEMPT: exempt must be a list"),
        ({"MAIL_SUPPRESSION_POLICY": {"refusal": True}}, "did you mean 'refusals'"),
        ({"MAIL_SUPPRESSION_POLICY": [1]}, "must be a dictionary, got list"),
    ],
)
def test_settings_that_are_not_usable_are_refused(config: dict[str, Any], text: str) -> None:
    app = Flask(__name__)
    app.config.update(MAIL_SUPPRESSION=True, MAIL_DEFAULT_SENDER="shop@example.com", **config)
    with pytest.raises(ConfigurationError, match=text):
        suppression_of(Mail(app).app)


# docs/suppression.md


def test_the_pages_block_for_a_plain_program_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from project.test_code_blocks import block, execute

    monkeypatch.chdir(tmp_path)
    names = execute(block("docs/suppression.md", "mailer = Mailer("))
    names["store"].add([new_entry(ADA)])
    with pytest.raises(RecipientsSuppressed):
        names["mailer"].send_message(b"Subject: s\r\n\r\nx", "shop@example.com", [ADA])
    names["store"].close()


def test_the_pages_settings_for_flask_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from project.test_code_blocks import block, execute

    monkeypatch.chdir(tmp_path)
    app = Flask(__name__, instance_path=str(tmp_path))
    config = execute(block("docs/suppression.md", "MAIL_SUPPRESSION = True"))
    app.config.update({key: value for key, value in config.items() if key.isupper()})
    app.config["MAIL_DEFAULT_SENDER"] = "shop@example.com"
    mail = Mail(app)
    run(app, "create-tables")
    suppress(app, ADA)
    with pytest.raises(RecipientsSuppressed):
        mail.send(Message("s", [ADA], body="x"))
    mail.close()
    suppression_of(app).close()


class Elsewhere(Backend):
    """A backend of an application, which knows nothing of suppression lists."""

    def __init__(self, state: Any) -> None:
        self.sent: list[Posting] = []

    def send(self, posting: Posting) -> Receipt:
        self.sent.append(posting)
        return local_receipt(posting, "sent elsewhere")


class ElsewhereAsync(Elsewhere):
    """The same, for coroutines."""

    is_async = True

    async def asend(self, posting: Posting) -> Receipt:
        return self.send(posting)

    async def asend_many(self, postings: Any) -> Any:
        async for posting in postings:
            yield self.send(posting)


@pytest.fixture(params=["memory", "console", "file", "dummy", "mailbox", Elsewhere, ElsewhereAsync])
def other(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> Iterator[Mail]:
    """The mail of an application with a backend that has no list of its own."""
    if request.param == "mailbox":
        pytest.importorskip("nh3")
        pytest.importorskip("jinja2")
    other = Flask("other")
    database = app.config["MAIL_SUPPRESSION_DATABASE"]
    other.config.update(
        MAIL_BACKEND=request.param,
        MAIL_FILE_PATH=str(tmp_path / "mail"),
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAIL_SUPPRESSION=True,
        MAIL_SUPPRESSION_DATABASE=database,
        MAILBOX_OUTSIDE_DEBUG=True,
    )
    suppress(app, BEN)
    mail = Mail(other)
    mail.app = other
    with other.app_context():
        yield mail
    mail.close()
    suppression_of(other).close()


def test_every_backend_gets_only_those_who_are_not_suppressed(other: Mail) -> None:
    receipt = other.send(Message("s", [ADA, BEN], body="x"))
    assert receipt.outcomes == {ADA: Outcome.ACCEPTED, BEN: Outcome.SUPPRESSED}
    with pytest.raises(RecipientsSuppressed):
        other.send(Message("s", ["BEN@Example.NET"], body="x"))
    outcomes = other.send_many([Message("s", [to], body="x") for to in (BEN, ADA)])
    assert [each.outcome for each in outcomes] == [Outcome.SUPPRESSED, Outcome.ACCEPTED]
    outcomes = list(other.stream([Message("s", [ADA], cc=[BEN], body="x")]))
    assert [list(each.suppressed) for each in outcomes] == [[BEN]]
    with other.connect() as connection, pytest.raises(RecipientsSuppressed):
        connection.send(Message("s", bcc=[BEN], body="x"))
    backend = other.app.extensions["mail"].backend
    if isinstance(backend, Elsewhere):
        assert [each.to_addrs for each in backend.sent] == [(ADA,)] * 3


def test_every_backend_asks_for_coroutines_too(other: Mail) -> None:
    async def send() -> Any:
        with pytest.raises(RecipientsSuppressed):
            await other.asend(Message("s", [BEN], body="x"))
        return await other.asend_many([Message("s", [to], body="x") for to in (ADA, BEN)])

    outcomes = asyncio.run(send())
    assert [each.outcome for each in outcomes] == [Outcome.ACCEPTED, Outcome.SUPPRESSED]


def test_a_host_in_place_of_ours_gets_only_those_who_are_not_suppressed(
    app: Flask, mail: Mail, sink: Sink
) -> None:
    suppress(app, BEN)
    with mail.connect() as connection, smtplib.SMTP("127.0.0.1", sink.port) as host:
        connection.host = host
        receipt = connection.send(Message("s", [ADA, BEN], body="x"))
        with pytest.raises(RecipientsSuppressed):
            connection.send(Message("s", [BEN], body="x"))
    assert receipt.outcomes == {ADA: Outcome.ACCEPTED, BEN: Outcome.SUPPRESSED}
    assert [each.rcpt_tos for each in sink.messages] == [(ADA,)]


def test_a_receipt_of_a_message_that_reached_nobody_says_so(app: Flask, sink: Sink) -> None:
    other = Flask("other")
    other.config.update(
        MAIL_URL=sink.url,
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAIL_ALLOWED_RECIPIENTS=["@example.com"],
    )
    mail = Mail(other)
    with other.app_context():
        receipt = mail.send(Message("s", [ADA], body="x"))
    mail.close()
    assert receipt.outcome is Outcome.NOT_SENT
    assert receipt.as_dict()["outcome"] == "not_sent"
    assert "accepted" not in str(receipt)
    assert not sink.messages


@pytest.mark.parametrize(
    ("database", "fix"),
    [
        ({}, "set MAIL_SUPPRESSION_DATABASE"),
        ({"MAIL_SUPPRESSION_DATABASE": "postgresq://u:hunter2@h/x"}, "write, for example"),
        ({"MAIL_SUPPRESSION_DATABASE": "sqlite:///:memory:"}, "has the table been created?"),
    ],
)
def test_a_list_that_cannot_be_asked_names_the_fix(database: Any, fix: str) -> None:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.com", MAIL_SUPPRESSION=True, **database)
    with app.app_context(), pytest.raises(SuppressionError) as caught:
        Mail(app).send(Message("s", [ADA], body="x"))
    assert fix in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.outcome is Outcome.NOT_SENT
    if found := app.extensions.get("mail_suppression"):
        found.close()
    shown: list[Any] = []
    error: BaseException | None = caught.value
    while error is not None:
        shown += [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        error = error.__cause__
    ours = [each for each in shown if "app" not in each and "config" not in each]
    assert "hunter2" not in repr(ours)
