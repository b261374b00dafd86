"""The page of the mailbox: ``path("mailbox/", include("django_integration.mailbox.urls"))``."""

from __future__ import annotations

import logging
from urllib.parse import quote

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, re_path
from django.views.decorators.csrf import csrf_exempt

from django_integration.mailbox.settings import get_mailbox, is_allowed
from mailbackends.mailbox import Request

app_name = "mailbackends_mailbox"

logger: logging.Logger = logging.getLogger("mailbackends.mailbox")


# The mailbox checks its own token, so that it works without Django's middleware.
@csrf_exempt
def page(request: HttpRequest, path: str) -> HttpResponse:
    """All pages of the mailbox. Raises Http404 if it is not allowed."""
    if not is_allowed():
        logger.warning("The mailbox is not shown, since DEBUG is False.")
        raise Http404("The mailbox is for development.")
    place = request.path[: len(request.path) - len(path)]
    response = get_mailbox().handle(
        Request(
            method=request.method or "GET",
            path=path,
            base=quote(place),
            query_string=request.META.get("QUERY_STRING", ""),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.body,
            scheme=request.scheme or "http",
            # An ASGI server has a thread for each request.
            may_wait=bool(request.META.get("wsgi.multithread", True)),
        )
    )
    return HttpResponse(response.body, status=response.status, headers=dict(response.headers))


urlpatterns: list[URLPattern] = [re_path(r"^(?P<path>.*)$", page, name="mailbox")]
