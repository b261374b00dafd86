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

__all__ = ["TEMPLATE", "unsubscribe"]

logger = logging.getLogger("mailbackends.unsubscribe")

TEMPLATE = "mailbackends/unsubscribe.html"
"""A project's own page; it gets ``state`` (ask, done, invalid), ``address`` and ``stream``."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<style>body { font: 1.1em/1.5 system-ui, sans-serif; max-width: 34em; margin: 4em auto;
padding: 0 1em; } button { font: inherit; padding: .5em 1.2em; }</style>
{% if state == "ask" %}
<h1>Unsubscribe</h1>
<p>Stop sending “{{ stream }}” to {{ address }}?</p>
<form method="post"><button>Unsubscribe</button>
<input type="hidden" name="List-Unsubscribe" value="One-Click"></form>
{% elif state == "done" %}
<h1>You are unsubscribed</h1>
<p>We no longer send “{{ stream }}” to {{ address }}.</p>
{% else %}
<h1>This link is not valid</h1>
<p>It is incomplete or too old. Use the link in the newest message that you have.</p>
{% endif %}
</html>
"""


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
    values = {
        "state": state,
        "address": subscription.address if subscription else "",
        "stream": subscription.stream if subscription else "",
    }
    try:
        # Without the request: no context processor may look at a session.
        text = render_to_string(TEMPLATE, values)
    except TemplateDoesNotExist:
        text = Engine().from_string(_PAGE).render(Context(values))
    response = HttpResponse(text, status=status)
    # The token is in the URL: it must not reach another site, or a search engine.
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response
