"""A change written into the rows of one message, by SQLAlchemy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, false, insert, null, or_, update

from mailbackends.outbox.state import LEASED, State
from mailbackends.outbox.tables import Tables
from mailbackends.outbox.values import Change, RecipientChange
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
        shape = (
            frozenset(values),
            change.before,
            change.state,
            change.restarts,
            change.is_lease_over,
        )
        update_message = self._statement(shape, lambda: self._update_message(*shape))
        if not connection.execute(update_message, values).rowcount:
            return False
        self._record_recipients(connection, change)
        if change.log is not None:
            entry = change.log
            connection.execute(
                self._statement("log", self._insert_log),
                {
                    "p_message": change.id,
                    "p_kind": entry.kind,
                    "p_text": entry.text,
                    "p_by": entry.by,
                },
            )
        return True

    def _statement(self, key: Any, build: Callable[[], Any]) -> Any:
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = build()
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

    def _record_recipients(self, connection: Connection, change: Change) -> None:
        recipient = self.tables.recipient
        groups: dict[tuple[RecipientChange, bool], list[str]] = defaultdict(list)
        tried = set(change.attempted)
        for address, each in change.recipients.items():
            groups[each, address in tried].append(address)
        for (each, attempted), addresses in groups.items():
            values: dict[str, Any] = {"p_message": change.id, "p_state": each.state}
            if each.reply is not None:
                values["p_code"] = each.reply.code
                values["p_enhanced"] = str(each.reply.enhanced or "")
                values["p_text"] = each.reply.text
            elif each.text is not None:
                values["p_text"] = each.text
            if each.server:
                values["p_server"] = each.server
            if len(addresses) == 1:
                values["p_address"] = addresses[0]
                where = recipient.c.address == bindparam("p_address")
            else:
                values["p_addresses"] = addresses
                where = recipient.c.address.in_(bindparam("p_addresses", expanding=True))
            shape = (frozenset(values), attempted)
            build = partial(self._update_recipient, *shape, where)
            statement = self._statement(shape, build)
            connection.execute(statement, values)

    def _update_recipient(self, parameters: frozenset[str], attempted: bool, where: Any) -> Any:
        recipient = self.tables.recipient
        values: dict[str, Any] = {"at": now_ms()}
        for name in ("state", "code", "enhanced", "text", "server"):
            if f"p_{name}" in parameters:
                values[name] = bindparam(f"p_{name}")
        if attempted:
            values["attempts"] = recipient.c.attempts + 1
        return (
            update(recipient).where(recipient.c.message == bindparam("p_message"), where)
        ).values(values)
