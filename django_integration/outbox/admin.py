"""The outbox in Django's admin: "where is the mail to Ada?" """

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_integration.outbox import operations
from django_integration.outbox.configuration import outbox_database
from django_integration.outbox.models import Message, Recipient
from mailbackends import SMTPException
from mailbackends.outbox import CANCELLABLE, FINAL, State

__all__ = ["MessageAdmin"]

_COLOURS = {
    **dict.fromkeys((State.QUEUED, State.CLAIMED, State.BEGUN), "#417690"),
    State.ACCEPTED: "#3a7d34",
    **dict.fromkeys((State.REFUSED, State.UNKNOWN, State.PARKED, State.EXPIRED), "#ba2121"),
    **dict.fromkeys((State.CANCELLED, State.SUPPRESSED), "#666"),
}


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Message]
else:
    _ModelAdmin = admin.ModelAdmin


class MessageAdmin(_ModelAdmin):
    """Messages: to find, to look at, and to decide about. Nothing is edited.

    ``view_message`` shows the rows, ``read_content`` what is in the messages, and
    ``manage_outbox`` lets somebody send again, cancel, resolve and erase. The history of each
    message has who did what, and who read it.
    """

    list_display: tuple[str, ...] = (
        "subject_or_none",
        "to",
        "state_badge",
        "alias",
        "created_at",
        "why",
    )
    list_filter: ClassVar[tuple[Any, ...]] = (
        "state",
        "alias",
        "priority",
        ("created_at", admin.DateFieldListFilter),
    )
    search_fields: ClassVar[tuple[str, ...]] = ("subject",)
    search_help_text: ClassVar[str] = (
        "An address, Message-ID, key or id, or a part of the subject or an address."
    )
    ordering: ClassVar[tuple[str, ...]] = ("-created_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    actions: tuple[str, ...] = (
        "resend",
        "cancel",
        "it_arrived",
        "it_did_not_arrive",
        "erase",
    )
    change_list_template: ClassVar[str] = "admin/mailbackends_outbox/change_list.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """False: applications queue messages."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: states are changed by the actions."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: ``manage.py outbox prune`` deletes."""
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may send again, cancel, resolve and erase."""
        return _may(request, "manage_outbox")

    def has_read_permission(self, request: HttpRequest) -> bool:
        """Whether the user may read the content of messages."""
        return _may(request, "read_content")

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """The messages, without their content."""
        rows = Message.objects.using(outbox_database()).defer("content")
        return rows.prefetch_related("recipients").order_by(*self.ordering)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """What has exactly this address, Message-ID, key or id; if nothing has, parts of it."""
        text = search_term.strip()
        if not text:
            return queryset, False
        recipients = Recipient.objects.using(queryset.db)
        exactly = Q(key=text) | Q(message_id__in=[text, f"<{text.strip('<>')}>"])
        exactly |= Q(id__in=recipients.filter(address=text).values("message_id"))
        with contextlib.suppress(ValueError):
            exactly |= Q(id=UUID(text))
        exact = queryset.filter(exactly)
        if exact.exists():
            return exact, False
        parts = recipients.filter(address__icontains=text).values("message_id")
        return queryset.filter(
            Q(subject__icontains=text) | Q(id__in=parts) | Q(message_id__icontains=text)
        ), False

    @admin.display(description="subject", ordering="subject")
    def subject_or_none(self, row: Message) -> str:
        """The subject, for the list."""
        return row.subject or "(no subject)"

    @admin.display(description="to")
    def to(self, row: Message) -> str:
        """The first recipients."""
        addresses = [each.address for each in row.recipients.all()]
        more = f" and {len(addresses) - 2} more" if len(addresses) > 2 else ""
        return ", ".join(addresses[:2]) + more

    @admin.display(description="state", ordering="state")
    def state_badge(self, row: Message) -> SafeString:
        """The state in a colour."""
        return state_badge(row.state)

    @admin.display(description="reason")
    def why(self, row: Message) -> str:
        """The beginning of the reason."""
        reason = str(row.reason)
        return f"{reason[:117]}..." if len(reason) > 120 else reason

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list, with the state of the whole outbox above it."""
        status = operations.outbox_store().status()
        counts = [
            (str(state), state_badge(state), count)
            for state, count in sorted(status.messages.items())
        ]
        context = {**(extra_context or {}), "outbox": status, "outbox_counts": counts}
        return super().changelist_view(request, context)

    # One message

    def get_urls(self) -> list[Any]:
        """The pages of one message, besides the list."""
        view = self.admin_site.admin_view
        own = [
            path("<uuid:id>/source/", view(self.source), name="mailbackends_outbox_source"),
            path("<uuid:id>/preview/", view(self.preview), name="mailbackends_outbox_preview"),
            path("<uuid:id>/do/", view(self.do), name="mailbackends_outbox_do"),
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """State, envelope, the server's words for each recipient, and the history."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404("This message does not exist, or was pruned.")
        can_manage = self.has_manage_permission(request)
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": row.subject or "(no subject)",
            "opts": self.opts,
            # What Django's own page of a row needs for its head and breadcrumbs.
            "original": row,
            "media": self.media,
            "has_view_permission": True,
            "row": row,
            "badge": state_badge(row.state),
            "recipients": [(each, state_badge(each.state)) for each in row.recipients.all()],
            "log": row.log.using(row._state.db).all(),
            "can_read": self.has_read_permission(request) and not row.is_erased,
            "can_manage": can_manage,
            "can_resend": can_manage and row.state in FINAL and not row.is_erased,
            "can_cancel": can_manage and row.state in CANCELLABLE,
            "can_resolve": can_manage and row.state == State.UNKNOWN,
            "can_erase": can_manage and row.state in FINAL and not row.is_erased,
        }
        return TemplateResponse(request, "admin/mailbackends_outbox/detail.html", context)

    def source(self, request: HttpRequest, id: UUID) -> HttpResponse:
        """The message as a file, as it is sent."""
        response = HttpResponse(self._content(request, id), content_type="message/rfc822")
        response["Content-Disposition"] = f'attachment; filename="{id}.eml"'
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        return response

    def preview(self, request: HttpRequest, id: UUID) -> HttpResponse:
        """The message as recipients see it: cleaned, without scripts and remote images."""
        content = self._content(request, id)
        try:
            from mailbackends.mailbox import StoredMessage, View, frame
        except ModuleNotFoundError as error:
            return HttpResponse(str(error), content_type="text/plain; charset=utf-8", status=501)
        shown = View(StoredMessage(content), "")
        if shown.message.html is None:
            response = HttpResponse(
                (shown.message.text or "").encode("utf-8", "replace"),
                content_type="text/plain; charset=utf-8",
            )
            response["X-Content-Type-Options"] = "nosniff"
            response["X-Frame-Options"] = "SAMEORIGIN"
        else:
            made = frame(shown, remote=False)
            response = HttpResponse(made.body, headers=dict(made.headers))
        response["Cache-Control"] = "no-store"
        return response

    def _content(self, request: HttpRequest, id: UUID) -> bytes:
        if not (self.has_view_permission(request) and self.has_read_permission(request)):
            raise PermissionDenied
        try:
            return operations.read_content(id, by=_user(request))
        except (ValueError, SMTPException) as error:
            raise Http404(str(error)) from error

    def do(self, request: HttpRequest, id: UUID) -> HttpResponse:
        """One of the buttons on a message's page."""
        if request.method != "POST" or not self.has_manage_permission(request):
            raise PermissionDenied
        act = operations.ACTS.get(request.POST.get("act", ""))
        if act is None:
            raise Http404("No such action.")
        done, what = act
        try:
            done(id, _user(request))
        except ValueError as error:
            self.message_user(request, f"Nothing was changed: {error}.", messages.ERROR)
        else:
            self.message_user(request, f"The message {what(1)}.", messages.SUCCESS)
        place = reverse(f"{self.admin_site.name}:mailbackends_outbox_message_change", args=[id])
        return HttpResponseRedirect(place)

    # Actions on many messages

    def _all(self, request: HttpRequest, rows: QuerySet[Message], act: str) -> None:
        done, what = operations.ACTS[act]
        count, errors = 0, list[str]()
        for id in rows.values_list("id", flat=True):
            try:
                done(id, _user(request))
                count += 1
            except ValueError as error:
                errors.append(str(error))
        if count:
            self.message_user(
                request, f"{operations.count_of(count)} {what(count)}.", messages.SUCCESS
            )
        for reason in sorted(set(errors)):
            number = errors.count(reason)
            text = f"{operations.count_of(number)} {operations.was(number)} not changed: {reason}."
            self.message_user(request, text, messages.ERROR)

    @admin.action(description="Send again, to those who do not have it", permissions=["manage"])
    def resend(self, request: HttpRequest, rows: QuerySet[Message]) -> None:
        """Send the selected messages again."""
        self._all(request, rows, "resend")

    @admin.action(description="Cancel", permissions=["manage"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Message]) -> None:
        """Cancel the selected messages."""
        self._all(request, rows, "cancel")

    @admin.action(description="Unknown outcome: it arrived", permissions=["manage"])
    def it_arrived(self, request: HttpRequest, rows: QuerySet[Message]) -> None:
        """Resolve unknown outcomes."""
        self._all(request, rows, "arrived")

    @admin.action(description="Unknown outcome: it did not arrive", permissions=["manage"])
    def it_did_not_arrive(self, request: HttpRequest, rows: QuerySet[Message]) -> None:
        """Resolve unknown outcomes."""
        self._all(request, rows, "missing")

    @admin.action(description="Erase the content", permissions=["manage"])
    def erase(self, request: HttpRequest, rows: QuerySet[Message]) -> None:
        """Erase the content of the selected messages."""
        self._all(request, rows, "erase")


def state_badge(state: Any) -> SafeString:
    """The name of a state in its colour."""
    colour = _COLOURS.get(state, "#417690")
    return format_html('<b style="color: {}">{}</b>', colour, str(state))


def _may(request: HttpRequest, permission: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"mailbackends_outbox.{permission}"))


def _user(request: HttpRequest) -> str:
    """Who does it, for the history."""
    user: Any = request.user
    return str(user.get_username())[:200]


if apps.is_installed("django.contrib.admin"):
    admin.site.register(Message, MessageAdmin)
