"""Backends with equal options share one configuration, and others never do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from unittest import mock

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from hypothesis import given
from hypothesis import strategies as st

import django_integration.configuration
from django_integration import EmailBackend
from django_integration.compat import backend_for
from django_integration.configuration import CacheKey, Configuration, configuration
from django_integration.settings import collect_options
from mailbackends import Options
from support.server import MailServer

Use = Callable[..., None]

modern = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS needs Django 6.1")


def message() -> EmailMessage:
    return EmailMessage("s", "b", to=["a@example.com"])


def test_ten_backends_with_equal_options_are_configured_once(use_mail: Use) -> None:
    use_mail(host="once.example.com", use_tls=True, username="shop", password="word")
    with (
        mock.patch.object(
            django_integration.configuration, "collect_options", wraps=collect_options
        ) as collected,
        mock.patch.object(Options, "from_mapping", wraps=Options.from_mapping) as made,
    ):
        keys = [backend_for().mailer_key for _ in range(10)]
    assert (collected.call_count, made.call_count) == (1, 1)
    assert all(key is keys[0] for key in keys)


values: dict[str, st.SearchStrategy[Any]] = {
    "host": st.sampled_from(["a.example", "b.example"]),
    "port": st.sampled_from([None, 25, 2525, "25"]),
    "username": st.sampled_from([None, "", "shop", "tenant"]),
    "password": st.sampled_from([None, "", "word", "other"]),
    "use_tls": st.sampled_from([None, False, True]),
    "timeout": st.sampled_from([None, 1, 1.0, 7]),
    "pool_size": st.sampled_from([1, 2]),
    "auth_mechanisms": st.sampled_from([None, ["PLAIN"], ("PLAIN",), ["LOGIN"]]),
    "redirect_all_to": st.sampled_from([[], ["a@example.com"], ("b@example.com",)]),
    "on_partial_refusal": st.sampled_from(["log", "raise"]),
    "strategy": st.sampled_from(["ordered", "round_robin"]),
}
options = st.fixed_dictionaries({"host": values.pop("host")}, optional=values)


def outcome(found: Configuration) -> object:
    try:
        return found.mailer_key
    except ImproperlyConfigured as error:
        return type(error), str(error)


@given(given=options, per_call=st.frozensets(st.sampled_from(["username", "password"])))
def test_the_cached_configuration_equals_a_new_one(
    given: dict[str, Any], per_call: frozenset[str]
) -> None:
    found = configuration(given, alias="shop", per_call=per_call)
    collected = collect_options(given, alias="shop", per_call=per_call, current=None)
    anew = Configuration.of(*collected, "shop")
    for name in ("attributes", "other_options", "staging", "on_partial_refusal", "strategy"):
        assert getattr(found, name) == getattr(anew, name)
    assert outcome(found) == outcome(anew)


@given(options)
def test_a_cache_key_returns_the_options_it_was_made_from(given: dict[str, Any]) -> None:
    key = CacheKey.of(given)
    assert key.given() == given
    assert [type(value) for value in key.given().values()] == [*map(type, given.values())]


def test_the_repr_of_a_cache_key_shows_no_password() -> None:
    assert repr(CacheKey.of({"host": "h", "password": "hunter2"})) == "<CacheKey host, password>"
    found = configuration({"host": "h", "password": "hunter2"}, alias="shop")
    assert "hunter2" not in repr(found)


@modern
def test_equal_values_of_different_types_are_different_keys(use_settings: Use) -> None:
    for port, is_fine in ((1, True), (True, False), (1.0, False), (1, True)):
        use_settings(
            MAILERS={
                "default": {
                    "BACKEND": "django_integration.EmailBackend",
                    "OPTIONS": {"host": "h", "port": port},
                }
            }
        )
        if is_fine:
            assert backend_for().options.port == 1
        else:
            with pytest.raises(
                ImproperlyConfigured, match=rf"OPTIONS\['port'\] must be an integer, got {port!r}"
            ):
                backend_for()


def test_a_setting_that_is_changed_in_place_takes_effect_at_once(use_mail: Use) -> None:
    use_mail(host="h", redirect_all_to=["one@example.com"])
    found = vars(settings)["_wrapped"]
    where = found.MAILERS["default"]["OPTIONS"] if hasattr(found, "MAILERS") else found.MAILBACKENDS
    assert backend_for().staging.redirect_all_to == ("one@example.com",)
    where["redirect_all_to"].append("two@example.com")
    assert len(backend_for().staging.redirect_all_to) == 2
    where["pool_size"] = 9
    assert backend_for().options.pool_size == 9


def test_a_setting_changed_without_a_signal_takes_effect_at_once(
    use_email_settings: Use,
) -> None:
    use_email_settings(host="one.example.com")
    assert backend_for().mailer_key.servers[0].host == "one.example.com"
    vars(settings)["_wrapped"].__dict__["EMAIL_HOST"] = "two.example.com"
    assert backend_for().mailer_key.servers[0].host == "two.example.com"


def test_unhashable_options_are_not_cached(use_mail: Use) -> None:
    allowed = {"a@example.com"}
    use_mail(host="h", allowed_recipients=allowed)
    assert backend_for().staging.allowed == {"a@example.com"}
    allowed.add("b@example.com")
    assert backend_for().staging.allowed == {"a@example.com", "b@example.com"}


def test_changes_of_one_backend_do_not_affect_the_next(use_mail: Use) -> None:
    use_mail(host="h", pool_size=3)
    changed = backend_for()
    changed.host, changed.timeout, changed.staging = "other.example.com", 9, None
    assert changed.mailer_key.servers[0].server == "other.example.com:25"
    after = backend_for()
    assert (after.host, after.timeout, after.mailer_key.servers[0].host) == ("h", None, "h")
    assert after.staging is not None
    with pytest.raises(TypeError):
        after._configuration.other_options["pool_size"] = 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("host", "other.example.com"), ("port", 26), ("use_tls", True), ("use_ssl", True)),
        *(("username", None), ("password", "other"), ("timeout", 9)),
    ],
)
def test_each_attribute_that_is_set_later_changes_the_mailer(
    use_mail: Use, name: str, value: Any
) -> None:
    use_mail(host="h", username="shop", password="word", allow_cleartext_auth=True)
    backend = backend_for()
    before = backend.mailer_key
    setattr(backend, name, value)
    assert backend.mailer_key != before
    assert backend.mailer_key.servers == (backend.options,)


def test_a_subclass_can_override_options(use_mail: Use) -> None:
    class Elsewhere(EmailBackend):
        @property
        def options(self) -> Options:
            return Options(host="elsewhere.example.com")

    use_mail(host="h")
    backend = backend_for()
    backend.__class__ = Elsewhere
    assert backend.mailer_key.servers == (Options(host="elsewhere.example.com"),)


def test_a_password_property_is_read_each_time(use_mail: Use) -> None:
    class Rotating(EmailBackend):
        number = 0

        @property
        def password(self) -> str:
            type(self).number += 1
            return f"word{self.number}"

        @password.setter
        def password(self, value: str | None) -> None:
            pass

    use_mail(host="localhost", username="shop", password="word")
    backend = backend_for()
    backend.__class__ = Rotating
    del vars(backend)["password"]
    assert backend.mailer_key.servers[0].password != backend.mailer_key.servers[0].password


def test_a_mail_from_a_view_needs_few_calls(mail: MailServer) -> None:
    """Counted, so that the cost of the integration cannot grow unnoticed."""
    message().send()
    calls: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and "django_integration" in code.co_filename:
            calls.append(code.co_qualname)

    one = message()
    sys.setprofile(count)
    try:
        one.send()
    finally:
        sys.setprofile(None)
    assert len(mail.messages) == 2
    ours = [name for name in calls if not name.startswith(("<", "test_")) and "<" not in name]
    assert len(ours) <= 42, "\n".join(ours)
