"""A text that equals itself alone, on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

__all__ = ["ExactCharField"]

if TYPE_CHECKING:
    _CharField = models.CharField[Any, Any]
else:
    _CharField = models.CharField


class ExactCharField(_CharField):
    """A `CharField` that compares exactly on MySQL and MariaDB too.

    Most of their collations take ``ada`` for ``Ada`` and ``zoe`` for ``zoë``, which may be two
    recipients of one message, or two entries of a suppression list. ``db_collation`` would name
    theirs to all databases.
    """

    def db_parameters(self, connection: Any) -> Any:
        """The column's type, with its collation."""
        found = super().db_parameters(connection)
        if connection.vendor == "mysql":
            found["collation"] = "utf8mb4_bin"
        return found
