"""The suppression list over SQLAlchemy, on three databases, and the command for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from mailbackends.suppression import Reason, SuppressionPolicy, new_entry
from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore

from .conftest import database_url

ADA, BEN = "ada@example.net", "ben@example.net"


@pytest.fixture
def listed(engine: Engine) -> Iterator[SQLAlchemySuppressionStore]:
    made = SQLAlchemySuppressionStore(engine, policy=SuppressionPolicy(soft_bounces=2))
    made.create_tables()
    yield made
    made.table.metadata.drop_all(engine)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database_url(request, tmp_path)


def test_addresses_that_differ_in_accents_and_streams_that_differ_in_case_are_different(
    listed: SQLAlchemySuppressionStore,
) -> None:
    people = ["zoe@example.net", "zo\u00eb@example.net"]
    for each in people:
        for stream in ("news", "News"):
            listed.unsubscribe(each, stream)
    assert listed.count() == 4
    assert list(listed.suppressed(people, "news")) == people
    assert list(listed.suppressed(people, "News")) == people
    assert listed.suppressed(people, "NEWS") == {}
    # Two of one address would add it.
    assert listed.note([new_entry(each, Reason.SOFT_BOUNCE) for each in people]) == []


def test_a_thousand_addresses_are_two_queries(listed: SQLAlchemySuppressionStore) -> None:
    people = [f"N{number:04}@Example.net" for number in range(1000)]
    assert listed.add(new_entry(each) for each in people[::10]) == 100
    seen: list[str] = []

    def note(conn: object, cursor: object, statement: str, *args: object) -> None:
        seen.append(statement)

    event.listen(listed.engine, "before_cursor_execute", note)
    found = listed.suppressed(people, "newsletter")
    event.remove(listed.engine, "before_cursor_execute", note)
    assert list(found) == people[::10]
    assert len([each for each in seen if each.startswith("SELECT")]) == 2
    assert [each.address for each in listed.entries()] == [each.lower() for each in people[::10]]


def test_an_entry_is_replaced_and_its_beginning_stays(listed: SQLAlchemySuppressionStore) -> None:
    listed.add([new_entry(ADA, source="first"), new_entry(ADA, Reason.COMPLAINT)])
    [_, first] = sorted(listed.check(ADA), key=lambda each: each.reason)
    end = datetime.now(UTC) + timedelta(days=1)
    listed.add([new_entry("ADA@example.net", source="second", expires_at=end)])
    [complaint, second] = sorted(listed.check(ADA), key=lambda each: each.reason)
    assert complaint.reason is Reason.COMPLAINT
    assert (second.source, second.created_at) == ("second", first.created_at)
    assert second.expires_at is not None
    assert abs(second.expires_at - end) < timedelta(milliseconds=2)


def test_what_has_expired_stops_nothing_and_is_pruned(listed: SQLAlchemySuppressionStore) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    listed.add([new_entry(ADA, expires_at=past), new_entry(BEN)])
    assert listed.suppressed([ADA, BEN], None).keys() == {BEN}
    assert (listed.prune(), listed.count()) == (1, 1)


def test_soft_bounces_are_counted_and_forgotten_with_the_entry(
    listed: SQLAlchemySuppressionStore,
) -> None:
    bounce = new_entry(ADA, Reason.SOFT_BOUNCE)
    assert listed.note([bounce]) == []
    assert [each.reason for each in listed.note([bounce])] == [Reason.SOFT_BOUNCE]
    assert listed.suppressed([ADA], None).keys() == {ADA}
    assert listed.remove(ADA) == 1
    assert listed.note([bounce]) == []


def test_the_command_shows_and_changes_a_list(tmp_path: Path) -> None:
    pytest.importorskip("rich", reason="the command needs the extra cli")
    from click.testing import CliRunner

    from mailbackends.cli.commands import mailbackends

    url = f"sqlite:///{tmp_path / 'list.sqlite3'}"

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(mailbackends, ["suppression", "--database", url, *arguments])
        assert done.exit_code == status, done.output
        return done.output

    run("create-tables")
    run("add", ADA, "--scope", "newsletter")
    assert "gets mail." in run("check", ADA)
    assert "gets no mail of the stream 'newsletter'" in run(
        "check", ADA, "--stream", "newsletter", status=1
    )
    assert f"\n{ADA},manual,newsletter," in run("export")
    run("remove", ADA, "--scope", "newsletter")
    assert "must be more than 0" in run("add", ADA, "--days", "0", status=2)
