"""A change written into the rows of one message, by SQLAlchemy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, bindparam, false, insert, null, or_, update

from mailbackends.outbox.state import LEASED, State
from mailbackends.outbox.tables import Tables
from mailbackends.outbox.values import Change
from mailbackends.sql import now_ms

__all__ = ["Recorder"]


class Recorder:
    """Writes changes, in the transaction of the caller.

    Statements are built once: to build one takes longer than to run it.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables: Tables = tables
        self._statements: dict[Any, Any] = {}

    def record(self, connection: Connection, change: Change) -> bool:
        """Write a change; False where it does not apply, and nothing was written."""
        return self.record_all(connection, [change])

    def record_all(self, connection: Connection, changes: Sequence[Change]) -> bool:
        """Write all changes; False where one does not apply: roll back then, if others may have.

        Statements of the same form are sent to the database together.
        """
        messages: _Batches = defaultdict(list)
        for change in changes:
            values = _message_values(change)
            form = frozenset(values), change.before, change.state
            messages["message", *form, change.restarts, change.is_lease_over].append(values)
        applied = 0
        for (_, *shape), rows in messages.items():
            statement = self._statement(tuple(shape), self._update_message)
            applied += connection.execute(statement, rows).rowcount
        if applied != len(changes):
            return False
        others: _Batches = defaultdict(list)
        for change in changes:
            _add_recipients(others, change)
            if (entry := change.log) is not None:
                others[("log",)].append(
                    {
                        "p_message": change.id,
                        "p_kind": entry.kind,
                        "p_text": entry.text,
                        "p_by": entry.by,
                    }
                )
        for (kind, *shape), rows in others.items():
            build = self._insert_log if kind == "log" else self._update_recipient
            connection.execute(self._statement(tuple(shape), build), rows)
        return True

    def _statement(self, shape: tuple[Any, ...], build: Callable[..., Any]) -> Any:
        statement = self._statements.get((build.__name__, shape))
        if statement is None:
            statement = self._statements[build.__name__, shape] = build(*shape)
        return statement

    def _update_message(
        self,
        parameters: frozenset[str],
        before: frozenset[State],
        state: State,
        restarts: bool,
        is_lease_over: bool,
    ) -> Any:
        message = self.tables.message
        where = [message.c.id == bindparam("p_id")]
        states = [message.c.state == str(state) for state in sorted(before)]
        where.append(or_(*states) if states else false())
        if "p_lease_by" in parameters:
            where.append(message.c.lease_by == bindparam("p_lease_by"))
        if "p_version" in parameters:
            where.append(message.c.version == bindparam("p_version"))
        if is_lease_over:
            where.append(message.c.lease_until < now_ms())
        values: dict[str, Any] = {
            "state": bindparam("p_state"),
            "reason": bindparam("p_reason"),
            "lost_leases": bindparam("p_lost_leases"),
            "updated_at": now_ms(),
            "version": message.c.version + 1,
        }
        if state not in LEASED:
            values["lease_until"] = null()
            if state is not State.UNKNOWN:
                values["lease_by"] = null()
        if "p_delay" in parameters:
            values["due_at"] = now_ms() + bindparam("p_delay", type_=BigInteger)
        if restarts:
            values["expires_at"] = null()
            values["attempts"] = 0
        return update(message).where(*where).values(values)

    def _insert_log(self) -> Any:
        return insert(self.tables.log).values(
            message=bindparam("p_message"),
            at=now_ms(),
            kind=bindparam("p_kind"),
            text=bindparam("p_text"),
            by=bindparam("p_by"),
        )

    def _update_recipient(self, parameters: frozenset[str], attempted: bool) -> Any:
        recipient = self.tables.recipient
        values: dict[str, Any] = {"at": now_ms()}
        for name in ("state", "code", "enhanced", "text", "server"):
            if f"p_{name}" in parameters:
                values[name] = bindparam(f"p_{name}")
        if attempted:
            values["attempts"] = recipient.c.attempts + 1
        return (
            update(recipient)
            .where(
                recipient.c.message == bindparam("p_message"),
                recipient.c.address == bindparam("p_address"),
            )
            .values(values)
        )


_Batches: TypeAlias = "dict[tuple[Any, ...], list[dict[str, Any]]]"


def _message_values(change: Change) -> dict[str, Any]:
    values: dict[str, Any] = {
        "p_id": change.id,
        "p_state": change.state,
        "p_reason": change.reason,
        "p_lost_leases": change.lost_leases,
    }
    if change.lease_by is not None:
        values["p_lease_by"] = change.lease_by
    if change.version is not None:
        values["p_version"] = change.version
    if change.delay is not None:
        values["p_delay"] = int(change.delay * 1000)
    return values


def _add_recipients(batches: _Batches, change: Change) -> None:
    tried = set(change.attempted)
    for address, each in change.recipients.items():
        values: dict[str, Any] = {
            "p_message": change.id,
            "p_address": address,
            "p_state": each.state,
            **{f"p_{name}": value for name, value in each.columns.items()},
        }
        batches["recipient", frozenset(values), address in tried].append(values)
