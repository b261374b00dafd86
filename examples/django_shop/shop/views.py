"""The shop's pages, and a JSON interface under ``/api/``."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.forms import PasswordResetForm
from django.core.mail import EmailMessage, get_connection, mail_managers
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from django_integration import BatchError, PartialRefusal, SendCancelled, asend, receipt_of
from django_integration.health import check_mail
from mailbackends import SMTPException

from . import journal
from .forms import ContactForm, NewsletterForm, OrderForm
from .mails import catalogue, newsletter, order_confirmation, recall
from .models import PlacedOrder
from .orders import Order


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The shop, and the outcomes of the last mails."""
    return render(
        request,
        "shop/index.html",
        {"form": OrderForm(initial={"product": "tea"}), "entries": reversed(journal.entries)},
    )


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """An order from the page."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/index.html", {"form": form}, status=400)
    answer, status = _confirm(form.order())
    return render(request, "shop/thanks.html", answer, status=status)


# Browsers do not send JSON to other sites without permission: no CSRF token is needed.
@csrf_exempt
@require_POST
def api_order(request: HttpRequest) -> JsonResponse:
    """An order as JSON; responds with the receipt."""
    form = OrderForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    answer, status = _confirm(form.order())
    return JsonResponse(answer, status=status)


def _confirm(order: Order) -> tuple[dict[str, Any], int]:
    message = order_confirmation(order)
    answer: dict[str, Any] = {
        "order": order.number,
        "total": str(order.total),
        "subject": message.subject,
    }
    try:
        # With the outbox, the order and its confirmation are stored together or not at all.
        with transaction.atomic():
            PlacedOrder.record(order)
            message.send()
    except SMTPException as error:
        PlacedOrder.record(order)
        # The order is kept. The customer sees that the confirmation was not sent, and whether
        # it makes sense to try again.
        answer |= {
            "error": str(error),
            "outcome": error.outcome,
            "try_again": error.is_transient,
        }
        return answer, 503 if error.is_transient else 502
    return answer | {"receipt": journal.as_json(receipt_of(message))}, 201


@csrf_exempt
@require_POST
def api_password_reset(request: HttpRequest) -> JsonResponse:
    """Django's own password reset; the receipt comes from the signal."""
    form = PasswordResetForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    journal.entries.clear()
    form.save(request=request)
    sent = [entry.get("receipt") for entry in journal.entries]
    return JsonResponse({"receipt": sent[-1] if sent else None}, status=202)


@csrf_exempt
@require_POST
async def api_catalogue(request: HttpRequest) -> JsonResponse:
    """The catalogue for one visitor, from an ``async def`` view."""
    form = ContactForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    message = catalogue(form.cleaned_data["email"])
    await asend(message)  # an error is reported to ADMINS
    return JsonResponse({"receipt": journal.as_json(receipt_of(message))}, status=202)


@csrf_exempt
@require_POST
def api_contact(request: HttpRequest) -> JsonResponse:
    """Send a visitor's message to the managers."""
    form = ContactForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    given = form.cleaned_data
    mail_managers(f"A question from {given['email']}", given["text"])
    return JsonResponse({}, status=202)


@csrf_exempt
@require_POST
def api_newsletter(request: HttpRequest) -> JsonResponse:
    """Send a message to each recipient; responds with the result of each."""
    form = NewsletterForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    messages = newsletter(form.cleaned_data["recipients"])
    try:
        _connection().send_messages(messages)
    except (BatchError, SMTPException):
        status = 207
    else:
        status = 200
    return JsonResponse({"results": [_result(message) for message in messages]}, status=status)


def _result(message: EmailMessage) -> dict[str, Any]:
    error = getattr(message, "send_error", None)
    receipt = journal.as_json(receipt_of(message))
    is_wanted = not isinstance(error, SendCancelled)
    return {
        "to": message.to[0],
        "receipt": receipt,
        "error": str(error) if error and is_wanted else None,
    }


@csrf_exempt
@require_POST
def api_recall(request: HttpRequest) -> JsonResponse:
    """Send a recall, and respond with the recipients to telephone: all must hear of it."""
    form = NewsletterForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    message = recall(form.cleaned_data["recipients"])
    try:
        _connection("strict").send_messages([message])
    except PartialRefusal as error:
        return JsonResponse({"telephone": sorted(error.refused)}, status=207)
    except SMTPException as error:
        return JsonResponse({"telephone": message.to, "error": str(error)}, status=502)
    return JsonResponse({"telephone": []}, status=200)


def _connection(alias: str = "default") -> Any:
    try:
        from django.core.mail import mailers  # Django 6.1
    except ImportError:
        return get_connection(**(settings.MAIL_STRICT if alias == "strict" else {}))
    return mailers[alias]


@require_GET
def health(request: HttpRequest) -> JsonResponse:
    """The health check for load balancers and monitoring."""
    result = check_mail()
    return JsonResponse(result.as_dict(), status=200 if result.is_ok else 503)


def _json(request: HttpRequest) -> QueryDict | dict[str, Any]:
    if request.content_type != "application/json":
        return request.POST
    try:
        given = json.loads(request.body or b"{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}
