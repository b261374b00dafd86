"""An index over some rows, on databases that have such indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models

__all__ = ["PartialIndex"]


class PartialIndex(models.Index):
    """A partial index for ``where``; on MySQL, which has none, an index over all rows.

    Django's own ``condition`` leaves the index out there, and warns (models.W037). The index over
    all rows begins with ``state``, which the condition is about. A partial one must not:
    PostgreSQL drops the comparison that it implies, and would look for the next field in the whole
    of the index.
    """

    def __init__(self, *, fields: Sequence[str], name: str, where: models.Q) -> None:
        super().__init__(fields=list(fields), name=name)
        self.where = where

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        """The statement that creates the index."""
        is_supported = schema_editor.connection.features.supports_partial_indexes
        fields = list(self.fields) if is_supported else ["state", *self.fields]
        condition = self.where if is_supported else None
        index = models.Index(fields=fields, name=self.name, condition=condition)
        return index.create_sql(model, schema_editor, using=using, **kwargs)

    def deconstruct(self) -> Any:
        """The arguments, for migrations."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "where": self.where}
