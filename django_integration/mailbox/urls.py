"""``path("mailbox/", include("django_integration.mailbox.urls"))``."""

from django.urls import re_path

from django_integration.mailbox.views import page

app_name = "mailbackends_mailbox"
urlpatterns = [re_path(r"^(?P<path>.*)$", page, name="mailbox")]
