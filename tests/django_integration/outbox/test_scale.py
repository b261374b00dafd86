"""Claiming looks at what waits, however many messages there are."""

from __future__ import annotations

import itertools
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_integration.outbox.models import Message
from django_integration.outbox.operations import outbox_store
from mailbackends.outbox import uuid7

pytestmark = pytest.mark.usefixtures("database")

ROWS = 100_000


def fill(database: str) -> None:
    """Old messages, accepted, and some for tomorrow; by the database itself, which is quick."""
    columns = [each for each in Message._meta.local_concrete_fields if each.attname != "id"]
    values: dict[str, str] = {each.column: "''" for each in columns}
    now = "now()" if database == "postgresql" else "'2026-01-01 00:00:00'"
    for name in ("priority", "attempts", "lost_leases", "size", "version"):
        values[name] = "1"
    for name in ("created_at", "updated_at", "due_at"):
        values[name] = now
    for name in ("key", "not_before", "expires_at", "lease_until", "erased_at"):
        values[name] = "NULL"
    for name in ("mail_options", "rcpt_options", "blobs"):
        values[name] = "'[]'"
    values |= {"alias": "'smtp'", "state": "'accepted'", "on_unknown": "'hold'"}
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, ["id", *values]))
    table = quote(Message._meta.db_table)
    if database == "postgresql":
        numbers, identity = f"generate_series(1, {ROWS}) AS n", "gen_random_uuid()"
        values["content"] = "''::bytea"
    else:
        values["content"] = "x''"
        counted = f"SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}"  # noqa: S608
        numbers = f"(WITH RECURSIVE c(n) AS ({counted}) SELECT n FROM c)"  # noqa: S608
        identity = "lower(hex(randomblob(16)))"
    with connection.cursor() as cursor:
        picked = ", ".join([identity, *values.values()])
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {picked} FROM {numbers}")  # noqa: S608
        if database == "postgresql":
            cursor.execute(f"ANALYZE {table}")


@pytest.mark.slow
def test_a_hundred_thousand_finished_messages_are_not_looked_at(database: str) -> None:
    fill(database)
    row = Message.objects.first()
    assert row is not None
    row.pk, row.state = uuid7(), "queued"
    row.save(force_insert=True)
    store = outbox_store()
    with CaptureQueriesContext(connection) as queries:
        [claimed] = store.claim(10, lease=60, worker="w", aliases=["smtp"])
    assert claimed.id == row.pk
    looks = [each["sql"] for each in queries if each["sql"].startswith("SELECT")]
    about_messages = [sql for sql in looks if "mailbackends_outbox_message" in sql.split("FROM")[1]]
    assert len(about_messages) >= 2
    for sql in about_messages:
        plan = explained(sql, database)
        assert "mb_outbox_queued" in plan, (sql, plan)
        if database == "postgresql":
            # Both are compared in the index: a priority without messages costs nothing.
            assert re.search(r"Index Cond: .*alias.*priority", plan), (sql, plan)
            assert "(state)" not in plan.split("Index Cond:")[1].splitlines()[0], (sql, plan)


def explained(sql: str, database: str) -> str:
    explain = "EXPLAIN" if database == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}".replace("%", "%%"))
        return "\n".join(str(cell) for cell in itertools.chain(*cursor.fetchall()))
