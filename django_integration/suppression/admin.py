"""The suppression list in Django's admin: to find, to add and to remove addresses."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from django_integration.suppression.lists import suppression_list
from django_integration.suppression.models import Suppression
from mailbackends.suppression import Suppression as Entry
from mailbackends.suppression import comparable, write_csv

__all__ = ["SuppressionAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Suppression]
else:
    _ModelAdmin = admin.ModelAdmin


class SuppressionAdmin(_ModelAdmin):
    """Entries, by Django's permissions: who may add, change, delete and view."""

    list_display: tuple[str, ...] = (
        "address",
        "scope",
        "reason",
        "source",
        "created_at",
        "expires_at",
    )
    list_filter: ClassVar[tuple[Any, ...]] = (
        "reason",
        "scope",
        ("created_at", admin.DateFieldListFilter),
    )
    search_fields: ClassVar[tuple[str, ...]] = ("address", "detail")
    search_help_text: ClassVar[str] = "An address, or a part of it."
    fields: ClassVar[tuple[str, ...]] = (
        "address",
        "scope",
        "reason",
        "expires_at",
        "detail",
        "source",
        "created_at",
    )
    readonly_fields: ClassVar[tuple[str, ...]] = ("source", "created_at")
    list_per_page = 50
    show_full_result_count = False
    actions: tuple[str, ...] = ("export_as_csv",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Suppression]:
        """The entries of the list's database."""
        return Suppression.objects.using(suppression_list().using).all()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Suppression], search_term: str
    ) -> tuple[QuerySet[Suppression], bool]:
        """Exactly this address, in any case; if there is none, parts of it."""
        exact = queryset.filter(address=comparable(search_term))
        if search_term and exact.exists():
            return exact, False
        return super().get_search_results(request, queryset, search_term.lower())

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        """Save the entry, with who has made it."""
        user: Any = request.user
        if not change:
            obj.source = f"admin ({user.get_username()})"[:500]
        obj.save(using=suppression_list().using)

    def delete_model(self, request: HttpRequest, obj: Suppression) -> None:
        """Delete the entry."""
        obj.delete(using=suppression_list().using)

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_as_csv(self, request: HttpRequest, rows: QuerySet[Suppression]) -> HttpResponse:
        """The selected entries as a file that ``manage.py suppression import`` reads."""
        text = StringIO()
        write_csv(map(Entry.from_row, rows), text)
        response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="suppressed.csv"'
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        return response


if apps.is_installed("django.contrib.admin"):
    admin.site.register(Suppression, SuppressionAdmin)
