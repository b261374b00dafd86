"""The page: ``path("unsubscribe/", include("django_integration.unsubscribe.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from django_integration.unsubscribe.views import unsubscribe

app_name = "mailbackends_unsubscribe"

urlpatterns: list[URLPattern] = [
    re_path(r"^(?P<token>[A-Za-z0-9_.~-]+)/?$", unsubscribe, name="unsubscribe")
]
