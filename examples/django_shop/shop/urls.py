"""The shop's URLs."""

from django.conf import settings
from django.contrib.auth import views as auth
from django.urls import URLPattern, URLResolver, include, path

from . import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.index, name="index"),
    path("orders/", views.order, name="order"),
    path("health/mail/", views.health, name="health"),
    path("api/orders/", views.api_order, name="api_order"),
    path("api/password-reset/", views.api_password_reset, name="api_password_reset"),
    path("api/catalogue/", views.api_catalogue, name="api_catalogue"),
    path("api/contact/", views.api_contact, name="api_contact"),
    path("api/newsletter/", views.api_newsletter, name="api_newsletter"),
    path("api/recall/", views.api_recall, name="api_recall"),
    # Django's own password reset, whose views refer to these names.
    path("password-reset/", auth.PasswordResetView.as_view(), name="password_reset"),
    path("password-reset/done/", auth.PasswordResetDoneView.as_view(), name="password_reset_done"),
    path(
        "reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(),
        name="password_reset_confirm",
    ),
    path("reset/done/", auth.PasswordResetCompleteView.as_view(), name="password_reset_complete"),
]

if settings.SITE:
    urlpatterns.append(path("unsubscribe/", include("django_integration.unsubscribe.urls")))

# In development: all mail, and the previews of `shop.mail_previews`.
if settings.MAIL_BACKEND == "django_integration.mailbox.EmailBackend":
    urlpatterns.append(path("mailbox/", include("django_integration.mailbox.urls")))
