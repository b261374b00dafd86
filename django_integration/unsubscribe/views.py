"""The page of a link: GET shows it, POST unsubscribes."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from django_integration.unsubscribe.links import (
    InvalidToken,
    Subscription,
    read_token,
    unsubscribed,
)
from mailbackends.integration import (
    UNSUBSCRIBE_HEADERS,
    UNSUBSCRIBE_PAGE,
    UNSUBSCRIBE_TEMPLATE,
    unsubscribe_page_values,
)

__all__ = ["unsubscribe"]

logger: logging.Logger = logging.getLogger("mailbackends.unsubscribe")


# A mail program posts without cookies, and so without a CSRF token (RFC 8058 section 3.1). No
# other site can post in somebody's name: nobody else knows the signed token in the URL.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, which scanners of mail send too, and act on POST. Sets and reads no cookie.

    The body of the request is not read. A token that is not valid gets 400, and nothing happens.
    """
    try:
        subscription = read_token(token)
    except InvalidToken:
        return _page("invalid", None, 400)
    if request.method != "POST":
        return _page("ask", subscription)
    failed: Exception | None = None
    for receiver, result in unsubscribed.send_robust(
        Subscription,
        address=subscription.address,
        stream=subscription.stream,
        subscription=subscription,
        request=request,
    ):
        if isinstance(result, Exception):
            failed = failed or result
            logger.error("the receiver %r of unsubscribed failed", receiver, exc_info=result)
    if failed is not None:
        # Not 200: the mail program, or the reader, can send it again.
        raise failed
    if not unsubscribed.receivers:
        logger.error("somebody unsubscribed, and no receiver of unsubscribed is connected")
    return _page("done", subscription)


def _page(state: str, subscription: Subscription | None, status: int = 200) -> HttpResponse:
    values = unsubscribe_page_values(state, subscription)
    try:
        # Without the request: no context processor may look at a session.
        text = render_to_string(UNSUBSCRIBE_TEMPLATE, values)
    except TemplateDoesNotExist:
        text = Engine().from_string(UNSUBSCRIBE_PAGE).render(Context(values))
    return HttpResponse(text, status=status, headers=UNSUBSCRIBE_HEADERS)
