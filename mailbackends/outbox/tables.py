"""The outbox's tables as SQLAlchemy metadata.

Needs the extra ``outbox``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    event,
    text,
)

from mailbackends.outbox.state import State
from mailbackends.sql import Milliseconds, Word, exact_text

__all__ = ["CHANNEL", "IS_LEASED", "IS_QUEUED", "Tables", "outbox_tables"]

# Queries have these words as they are, and not as parameters: an index over a part of the table
# serves what the database can see to be in that part.
IS_QUEUED = f"state = '{State.QUEUED}'"
IS_LEASED = f"state IN ('{State.BEGUN}', '{State.CLAIMED}')"

CHANNEL = "mailbackends_outbox"
"""What PostgreSQL notifies when messages were inserted."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables, in one `sqlalchemy.MetaData`."""

    message: Table
    recipient: Table
    blob: Table
    log: Table
    pause: Table

    @property
    def all(self) -> list[Table]:
        """All of them, for ``metadata.create_all(engine, tables=tables.all)``."""
        return [self.message, self.recipient, self.blob, self.log, self.pause]


def outbox_tables(metadata: MetaData | None = None, prefix: str = "outbox_") -> Tables:
    """The tables in this metadata: an application's own, for its migrations, or a new one."""
    metadata = MetaData() if metadata is None else metadata
    name = f"{prefix}message"
    if name in metadata.tables:
        found = [
            metadata.tables[f"{prefix}{each}"]
            for each in ("message", "recipient", "blob", "log", "pause")
        ]
        return Tables(*found)
    large = LargeBinary(2**32 - 1)  # MySQL's BLOB has 64 KiB
    message = Table(
        name,
        metadata,
        Column("id", Uuid(), primary_key=True),
        Column("state", Word(10), nullable=False),
        Column("alias", String(100), nullable=False),
        Column("priority", SmallInteger, nullable=False),
        Column("due_at", Milliseconds, nullable=False),
        Column("lease_until", Milliseconds),
        Column("lease_by", exact_text(100)),
        Column("version", Integer, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("lost_leases", Integer, nullable=False),
        Column("key", exact_text(200), unique=True),
        Column("fingerprint", String(64), nullable=False),
        Column("on_unknown", Word(10), nullable=False),
        Column("stream", String(50), nullable=False),
        Column("sender", String(1000), nullable=False),
        Column("message_id", exact_text(500), nullable=False),
        Column("subject", String(255), nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("not_before", Milliseconds),
        Column("expires_at", Milliseconds),
        Column("created_at", Milliseconds, nullable=False),
        Column("updated_at", Milliseconds, nullable=False),
        Column("reason", Text, nullable=False),
        # JSON as text, read by `values_of`: a column that cannot be read fails one row only.
        Column("blobs", Text, nullable=False),
        Column("options", Text, nullable=False),
        Column("content", large, nullable=False),
        # Claiming: only due rows of one alias and priority are read, however many there are.
        *_indexes(f"ix_{name}_claim", ("alias", "priority", "due_at"), IS_QUEUED),
        *_indexes(f"ix_{name}_lease", ("lease_until",), IS_LEASED),
        *_indexes(f"ix_{name}_expiry", ("expires_at",), IS_QUEUED),
        Index(f"ix_{name}_age", "state", "updated_at"),
        Index(f"ix_{name}_message_id", "message_id"),
    )
    recipient = Table(
        f"{prefix}recipient",
        metadata,
        Column("message", ForeignKey(message.c.id, ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("address", exact_text(500), nullable=False),
        Column("state", Word(10), nullable=False),
        Column("code", Integer),
        Column("enhanced", String(20), nullable=False),
        Column("text", Text, nullable=False),
        Column("server", String(300), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("at", Milliseconds),
        Index(f"ix_{prefix}recipient_address", "address"),
    )
    blob = Table(
        f"{prefix}blob",
        metadata,
        Column("digest", String(64), primary_key=True),
        Column("message", ForeignKey(message.c.id, ondelete="CASCADE"), primary_key=True),
        Index(f"ix_{prefix}blob_message", "message"),
    )
    log = Table(
        f"{prefix}log",
        metadata,
        Column(
            "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        Column("message", ForeignKey(message.c.id, ondelete="CASCADE"), nullable=False),
        Column("at", Milliseconds, nullable=False),
        Column("kind", String(20), nullable=False),
        Column("text", Text, nullable=False),
        Column("by", String(200), nullable=False),
        Index(f"ix_{prefix}log_message", "message", "id"),
    )
    pause = Table(
        f"{prefix}pause",
        metadata,
        Column("alias", String(100), primary_key=True),
        Column("until", Milliseconds, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("reason", Text, nullable=False),
    )
    # One notification for each INSERT, delivered when it is committed.
    for statement in notify_statements(name):
        event.listen(message, "after_create", _for_postgresql(statement))
    return Tables(message, recipient, blob, log, pause)


def _indexes(name: str, columns: tuple[str, ...], where: str) -> tuple[Index, Index]:
    """A partial index; on MySQL, which has none, one over all rows that begins with the state.

    A partial index must not: PostgreSQL drops the comparison that the index implies, and would
    look for the next column in the whole of it.
    """
    partial: Any = Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))
    whole: Any = Index(f"{name}_all", "state", *columns)
    return partial.ddl_if(dialect=("postgresql", "sqlite")), whole.ddl_if(
        dialect=("mysql", "mariadb")
    )


def _for_postgresql(statement: str) -> Any:
    make: Any = DDL
    return make(statement).execute_if(dialect="postgresql")


def notify_statements(table: str = "outbox_message") -> tuple[str, str]:
    """What makes PostgreSQL notify workers, for a migration by hand."""
    return (
        f"CREATE OR REPLACE FUNCTION {table}_notify() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$",
        f"CREATE TRIGGER {table}_notify AFTER INSERT ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_notify()",
    )
