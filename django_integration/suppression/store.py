"""`DjangoSuppressionStore`: the project's suppression list, by Django's ORM."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from django.db import connections, router, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from django_integration.suppression import models
from django_integration.suppression.configuration import suppression_settings
from mailbackends.suppression import (
    Exempt,
    Suppression,
    SuppressionPolicy,
    SuppressionStore,
    comparable,
)

__all__ = ["STORE", "DjangoSuppressionStore"]

_ROWS = 500
_KEY = ("address", "scope", "reason")


class DjangoSuppressionStore(SuppressionStore):
    """A `mailbackends.suppression.SuppressionStore` with the settings of the project.

    Each call is part of the caller's transaction, if there is one.
    """

    @property
    def exempt(self) -> Exempt:
        """See ``MAILBACKENDS_SUPPRESSION``."""
        return suppression_settings().exempt

    @property
    def policy(self) -> SuppressionPolicy:
        """See ``MAILBACKENDS_SUPPRESSION``."""
        return suppression_settings().policy

    @property
    def using(self) -> str:
        """The alias of the database."""
        return suppression_settings().database or router.db_for_write(models.Suppression)

    @property
    def rows(self) -> QuerySet[models.Suppression]:
        """All entries in the database."""
        return models.Suppression.objects.using(self.using)

    def add(self, entries: Iterable[Suppression]) -> int:
        """See `SuppressionStore.add`."""
        # The last of several with one key: an INSERT must not meet a row twice.
        unique = {(each.address, each.scope, each.reason): each for each in entries}
        now = timezone.now()
        made = [
            models.Suppression(
                address=each.address,
                scope=each.scope,
                reason=each.reason.value,
                source=each.source,
                detail=each.detail,
                created_at=each.created_at or now,
                expires_at=each.expires_at,
            )
            for each in unique.values()
        ]
        names = connections[self.using].features.supports_update_conflicts_with_target
        self.rows.bulk_create(
            made,
            batch_size=_ROWS,
            update_conflicts=True,
            update_fields=["source", "detail", "expires_at"],
            unique_fields=list(_KEY) if names else None,
        )
        return len(made)

    def remove(self, address: str, scope: str | None = None) -> int:
        """See `SuppressionStore.remove`."""
        key = comparable(address)
        rows = self.rows.filter(address=key)
        models.SoftBounce.objects.using(self.using).filter(address=key).delete()
        return (rows if scope is None else rows.filter(scope=scope)).delete()[0]

    def entries(self) -> Iterator[Suppression]:
        """See `SuppressionStore.entries`."""
        after = ("", "", "")
        rows = self.rows.order_by(*_KEY)
        while True:
            address, scope, reason = after
            beyond = Q(address__gt=address) | Q(address=address, scope__gt=scope)
            beyond |= Q(address=address, scope=scope, reason__gt=reason)
            found = list(rows.filter(beyond)[:_ROWS])
            yield from map(Suppression.from_row, found)
            if len(found) < _ROWS:
                return
            after = (found[-1].address, found[-1].scope, found[-1].reason)

    def count(self) -> int:
        """See `SuppressionStore.count`."""
        return self.rows.count()

    def prune(self) -> int:
        """See `SuppressionStore.prune`."""
        old = timezone.now() - timedelta(days=self.policy.soft_bounce_days)
        models.SoftBounce.objects.using(self.using).filter(since__lt=old).delete()
        return self.rows.filter(expires_at__lte=timezone.now()).delete()[0]

    def _entries(
        self, addresses: Collection[str], scopes: Collection[str] | None
    ) -> Iterable[Suppression]:
        rows = self.rows.filter(address__in=addresses)
        if scopes is not None:
            rows = rows.filter(scope__in=scopes)
        return map(Suppression.from_row, rows.order_by())

    def _count_soft_bounce(self, address: str, days: float) -> int:
        rows = models.SoftBounce.objects.using(self.using).filter(address=address)
        now = timezone.now()
        with transaction.atomic(using=self.using):
            rows.filter(since__lt=now - timedelta(days=days)).delete()
            if not rows.update(bounces=F("bounces") + 1):
                rows.create(address=address, bounces=1, since=now)
            return int(rows.values_list("bounces", flat=True).get())


STORE = DjangoSuppressionStore()
"""The list of this project. Mailers are shared by all backends with equal options, so there is
one."""
