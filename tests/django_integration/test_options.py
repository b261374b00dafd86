"""From settings to the options of a Mailer: EMAIL_* with MAILBACKENDS, and MAILERS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import SimpleLazyObject, lazy, lazystr

from django_integration import EmailBackend, SettingsError
from django_integration.compat import backend_for
from mailbackends import Secret

Use = Callable[..., None]

URL = "smtp+starttls://shop:word@mail.example.com:2525?pool_size=7"


def test_every_option_of_the_mailer_can_be_set(use_mail: Use) -> None:
    use_mail(
        host="mail.example.com",
        port=2525,
        username="shop",
        password="word",
        use_tls=True,
        timeout=12,
        pool_size=7,
        max_idle=9.5,
        tls_minimum_version="TLSv1.3",
        chunking=False,
        auth_mechanisms=["plain"],
    )
    options = backend_for().options

    assert (options.host, options.port, options.security) == ("mail.example.com", 2525, "starttls")
    assert (options.username, options.password) == ("shop", Secret("word"))
    assert (options.timeout, options.pool_size, options.max_idle) == (12.0, 7, 9.5)
    assert options.tls_minimum_version == "TLSv1.3"
    assert options.chunking is False
    assert options.auth_mechanisms == ("PLAIN",)


def test_a_url_sets_all_options_in_it(use_mail: Use) -> None:
    use_mail(url=URL)
    backend = backend_for()

    assert (backend.host, backend.port, backend.use_tls) == ("mail.example.com", 2525, True)
    assert (backend.username, backend.password, backend.use_ssl) == ("shop", "word", False)
    assert backend.options.pool_size == 7


def test_a_url_and_options_complete_each_other(use_mail: Use) -> None:
    use_mail(
        url="smtps://mail.example.com",
        username="shop",
        password="word",
        max_messages_per_connection=5,
    )
    backend = backend_for()
    assert (backend.port, backend.options.server_port) == (465, 465)
    assert (backend.options.username, backend.options.max_messages_per_connection) == ("shop", 5)


def test_lmtp_over_a_unix_socket(use_mail: Use) -> None:
    use_mail(url="lmtp+unix:///run/dovecot/lmtp")
    options = backend_for().options
    assert (options.protocol, options.socket_path) == ("lmtp", "/run/dovecot/lmtp")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": URL, "host": "other.example.com"}, "set 'host' to different values"),
        ({"url": URL, "port": 99}, "set 'port' to different"),
        ({"url": URL, "use_ssl": True}, "set 'use_ssl' to different"),
        ({"security": "tls", "use_tls": True}, "set 'use_tls' to different"),
        ({"security": "TLS"}, "'none', 'starttls' or 'tls', got 'TLS'"),
        ({"url": "smtp+startls://h"}, "smtp+starttls"),
        ({"url": "smtp://h:port"}, "port"),
        ({"url": "smtp://h?pool_sise=3"}, "pool_size"),
        ({"on_partial_refusal": "explode"}, "'log' or 'raise', got 'explode'"),
        ({"allowed_recipients": ["example.com"]}, "'@example.com'"),
        ({"redirect_all_to": ["a\n@example.com"]}, "line break"),
        ({"redirect_all_to": 7}, "must be a list of addresses"),
        ({"redirect_all_to": {"a@example.com": 1}}, "must be a list of addresses, got {"),
        ({"allowed_recipients": [["a@example.com"]]}, "must be a list of addresses, got [["),
    ],
)
def test_contradictory_or_invalid_options_are_refused_before_connecting(
    use_mail: Use, options: dict[str, Any], words: str
) -> None:
    given = options if "url" in options else {"host": "mail.example.com"} | options
    use_mail(**given)
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = backend_for().options
    assert words in str(caught.value)


def test_no_error_contains_the_password(use_mail: Use) -> None:
    use_mail(url=URL, password="hunter2")
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = backend_for().options
    assert "word" not in str(caught.value).replace("password", "")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": "smtp"}, "port'] must be an integer, got 'smtp'"),
        ({"timeout": 0}, "timeout'] must be more than 0"),
        ({"pool_size": "many"}, "pool_size'] must be an integer, got 'many'"),
        ({"host": "mail example.com"}, "host'] must be a host name, got 'mail example.com'"),
        ({"tls_minimum_version": "TLSv9", "use_tls": True}, "TLSv9"),
        ({"username": "shop", "password": "word"}, "in clear"),
    ],
)
def test_options_that_no_mailer_accepts_are_refused_before_connecting(
    use_mail: Use, options: dict[str, Any], words: str
) -> None:
    from django.core.mail import send_mail

    use_mail(**{"host": "mail.example.com"} | options)
    # ConfigurationError, or what Django has for it: a ValueError or ImproperlyConfigured.
    with pytest.raises((ValueError, ImproperlyConfigured)) as caught:
        send_mail("s", "b", None, ["a@example.com"])
    # Each way of setting it has its own name: EMAIL_PORT, and port.
    text = re.sub(r"EMAIL_(\w+)", r"OPTIONS['\1']", str(caught.value))
    assert words.lower() in text.lower()


def test_numbers_can_be_text_from_the_environment(use_mail: Use) -> None:
    use_mail(host="h", port="2525", timeout="7.5")
    assert (backend_for().options.port, backend_for().options.timeout) == (2525, 7.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, False) for text in ("False", "false", "0", "", "no", "off")),
        *((text, True) for text in ("True", "true", "1", "yes", " on ")),
    ],
)
@pytest.mark.parametrize("name", ["use_tls", "use_ssl"])
def test_use_tls_as_text_from_the_environment_is_read_as_a_boolean(
    use_mail: Use, name: str, text: str, expected: bool
) -> None:
    use_mail(host="mail.example.com", port=2525, **{name: text})
    backend = backend_for()
    assert getattr(backend, name) is expected
    security = {"use_tls": "starttls", "use_ssl": "tls"}[name] if expected else "none"
    assert backend.options.security == security


@pytest.mark.parametrize("value", ["maybe", "Fasle", 1.5, []])
def test_use_tls_that_is_neither_true_nor_false_is_refused(use_mail: Use, value: Any) -> None:
    use_mail(host="mail.example.com", use_tls=value)
    with pytest.raises(ImproperlyConfigured, match=r"(?i)use_tls.* must be True or False, got"):
        backend_for()


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [("port", "smtp", "EMAIL_PORT"), ("timeout", "30s", "EMAIL_TIMEOUT"), ("timeout", -1, "EMAIL")],
)
def test_an_error_names_the_setting_that_it_is_about(
    use_email_settings: Use, name: str, value: Any, setting: str
) -> None:
    use_email_settings(**{"host": "mail.example.com", name: value})
    with pytest.raises(SettingsError, match=f"^{setting}"):
        _ = backend_for().options


@pytest.mark.filterwarnings("ignore")
def test_an_error_about_an_argument_does_not_name_a_setting(use_email_settings: Use) -> None:
    use_email_settings(host="mail.example.com", port=25)
    with pytest.raises(SettingsError, match=r"^port"):
        _ = EmailBackend(port="smtp").options  # type: ignore[arg-type]


def test_an_error_about_tls_names_the_settings_of_django(use_mail: Use) -> None:
    use_mail(host="mail.example.com", username="shop", password="word")
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = backend_for().options
    assert "use_tls" in str(caught.value).lower()
    assert "use_ssl" in str(caught.value).lower()
    assert "security=" not in str(caught.value)


@pytest.mark.parametrize("lazy", [lazystr, lambda text: SimpleLazyObject(lambda: text)])
def test_options_can_be_lazy(use_mail: Use, lazy: Callable[[str], Any]) -> None:
    use_mail(
        host=lazy("mail.example.com"),
        username=lazy("shop"),
        password=lazy("word"),
        use_tls=SimpleLazyObject(lambda: True),
        port=SimpleLazyObject(lambda: 2525),
        local_hostname=lazy("shop.example.com"),
    )
    backend = backend_for()
    options = backend.options
    assert (options.server, options.security) == ("mail.example.com:2525", "starttls")
    assert (options.username, options.password) == ("shop", Secret("word"))
    assert options.local_hostname == "shop.example.com"
    assert type(backend.username) is str


def test_a_lazy_url_is_evaluated_for_each_backend(use_mail: Use) -> None:
    urls = iter(["smtps://one.example.com", "smtps://two.example.com"])
    use_mail(url=lazy(lambda: next(urls), str)())
    assert backend_for().options.host == "one.example.com"
    assert backend_for().options.host == "two.example.com"


def test_a_lazy_attribute_that_a_subclass_sets_later_is_evaluated(use_mail: Use) -> None:
    use_mail(host="mail.example.com", use_tls=True, username="shop", password="word")
    backend = backend_for()
    backend.password = SimpleLazyObject(lambda: "later")
    assert backend.options.password == Secret("later")


def test_timeout_none_means_the_mailers_default(use_mail: Use) -> None:
    use_mail(host="h")
    assert backend_for().timeout is None
    assert backend_for().options.timeout == 30.0


@pytest.mark.parametrize("missing", ["username", "password"])
def test_no_login_is_made_with_a_user_name_or_password_alone(use_mail: Use, missing: str) -> None:
    use_mail(**{"host": "h", "username": "shop", "password": "word", missing: ""})
    assert backend_for().options.credentials is None


def test_an_ssl_context_can_be_given(use_mail: Use) -> None:
    context = ssl.create_default_context()
    use_mail(host="h", use_ssl=True, ssl_context=context)
    assert backend_for().options.ssl_context is context
    assert backend_for().ssl_context is context


def test_attributes_that_a_subclass_sets_later_are_used(use_mail: Use) -> None:
    use_mail(host="h")
    backend = backend_for()
    backend.host, backend.port, backend.use_tls = "other.example.com", 26, True
    assert backend.options.server == "other.example.com:26"
    assert backend.options.security == "starttls"


class TestEmailSettings:
    """EMAIL_* and MAILBACKENDS."""

    def test_djangos_defaults_are_localhost_and_25(self, use_email_settings: Use) -> None:
        use_email_settings()
        backend = backend_for()
        assert (backend.host, backend.port, backend.username) == ("localhost", 25, "")
        assert (backend.use_tls, backend.use_ssl, backend.timeout) == (False, False, None)

    def test_the_port_stays_25_with_tls_as_in_django(self, use_email_settings: Use) -> None:
        use_email_settings(host="h", use_tls=True)
        assert backend_for().port == 25

    def test_a_url_in_mailbackends_sets_the_port(self, use_email_settings: Use) -> None:
        use_email_settings(url="smtps://mail.example.com")
        assert backend_for().port == 465

    def test_a_url_that_contradicts_a_setting_is_refused(self, use_email_settings: Use) -> None:
        use_email_settings(host="other.example.com", url=URL)
        with pytest.raises(SettingsError, match=r"EMAIL_HOST and MAILBACKENDS\['url'\] set 'host'"):
            backend_for()

    def test_both_kinds_of_tls_are_refused_in_djangos_words(self, use_email_settings: Use) -> None:
        use_email_settings(use_tls=True, use_ssl=True)
        with pytest.raises(ValueError, match="EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive"):
            backend_for()

    def test_an_unknown_option_is_refused_with_the_nearest_name(
        self, use_email_settings: Use
    ) -> None:
        use_email_settings(pool_sise=3)
        with pytest.raises(SettingsError, match="Did you mean 'pool_size'"):
            backend_for()

    def test_mailbackends_must_be_a_dictionary(self, use_settings: Use) -> None:
        use_settings(EMAIL_BACKEND="django_integration.EmailBackend", MAILBACKENDS=["pool_size"])
        with pytest.raises(SettingsError, match="must be a dictionary"):
            backend_for()

    def test_arguments_of_one_call_override_the_settings(self, use_email_settings: Use) -> None:
        use_email_settings(host="h", port=26, username="shop", password="word", pool_size=2)
        backend = made(host="tenant.example.com", username="", pool_size=9)
        assert (backend.host, backend.port, backend.username) == ("tenant.example.com", 26, "")
        assert backend.options.pool_size == 9
        assert backend.options.credentials is None

    def test_a_url_given_for_one_call_gets_no_credentials_from_the_settings(
        self, use_email_settings: Use
    ) -> None:
        use_email_settings(host="h", port=26, username="shop", password="word", use_tls=True)
        backend = made(url="smtps://tenant.example.com")
        assert (backend.host, backend.port, backend.username) == ("tenant.example.com", 465, None)
        assert (backend.use_tls, backend.use_ssl, backend.password) == (False, True, None)


def made(**arguments: Any) -> EmailBackend:
    """As application code makes one; Django 6.1 warns of it."""
    if django.VERSION < (6, 1):
        return EmailBackend(**arguments)
    from django.utils.deprecation import RemovedInDjango2028Warning

    with pytest.warns(RemovedInDjango2028Warning, match="Directly creating EmailBackend"):
        return EmailBackend(**arguments)


@pytest.mark.skipif(django.VERSION >= (6, 1), reason="Django 6.1 warns, and then ignores them")
def test_below_django_61_unknown_arguments_are_refused(use_email_settings: Use) -> None:
    use_email_settings()
    with pytest.raises(SettingsError, match=r"Unknown options 'usr'.+Did you mean 'url'"):
        EmailBackend(usr="x")


if django.VERSION >= (6, 1):
    from django.core.mail import InvalidMailer, get_connection, mailers
    from django.utils.deprecation import RemovedInDjango2028Warning

    BACKEND = "django_integration.EmailBackend"

    class TestMailers:
        """The rules of Django 6.1."""

        def use(self, use_settings: Use, **aliases: dict[str, Any]) -> None:
            use_settings(
                MAILERS={
                    alias: {"BACKEND": BACKEND, "OPTIONS": options}
                    for alias, options in aliases.items()
                }
            )

        def test_each_alias_has_its_own_options(self, use_settings: Use) -> None:
            self.use(use_settings, default={"host": "a"}, bulk={"host": "b", "pool_size": 9})
            assert (mailers["default"].alias, mailers["default"].host) == ("default", "a")
            assert (mailers["bulk"].alias, mailers["bulk"].options.pool_size) == ("bulk", 9)

        @pytest.mark.parametrize(
            ("options", "port"),
            [({}, 25), ({"use_tls": True}, 587), ({"use_ssl": True}, 465), ({"port": 26}, 26)],
        )
        def test_the_default_port_depends_on_the_kind_of_tls(
            self, use_settings: Use, options: dict[str, Any], port: int
        ) -> None:
            self.use(use_settings, default={"host": "h"} | options)
            assert mailers.default.port == port
            assert mailers.default.options.server_port == port

        def test_options_that_are_not_given_are_none(self, use_settings: Use) -> None:
            self.use(use_settings, default={"host": "h"})
            backend = mailers.default
            assert (backend.username, backend.password, backend.timeout) == (None, None, None)
            assert (backend.use_tls, backend.use_ssl) == (False, False)

        def test_email_settings_are_not_read(self, use_settings: Use) -> None:
            self.use(use_settings, default={"host": "h"})
            use_settings(EMAIL_PORT=99, EMAIL_HOST_USER="x", EMAIL_USE_TLS=True)
            assert (mailers.default.port, mailers.default.username) == (25, None)
            assert mailers.default.use_tls is False

        def test_mailbackends_is_not_read(self, use_settings: Use) -> None:
            self.use(use_settings, default={"host": "h"})
            use_settings(MAILBACKENDS={"pool_size": 9})
            assert mailers.default.options.pool_size == 4

        def test_an_unknown_option_is_an_invalid_mailer(self, use_settings: Use) -> None:
            self.use(use_settings, bulk={"host": "h", "pool_sise": 3, "qzx": 1})
            with pytest.raises(InvalidMailer) as caught:
                mailers["bulk"]
            assert "MAILERS['bulk']: Unknown options" in str(caught.value)
            assert "'pool_sise'" in str(caught.value)
            assert "Did you mean 'pool_size'?" in str(caught.value)

        def test_a_host_is_required(self, use_settings: Use) -> None:
            self.use(use_settings, bulk={})
            with pytest.raises(InvalidMailer, match="OPTIONS must define 'host'"):
                mailers["bulk"]

        def test_both_kinds_of_tls_are_refused_in_djangos_words(self, use_settings: Use) -> None:
            self.use(use_settings, bulk={"host": "h", "use_tls": True, "use_ssl": True})
            with pytest.raises(InvalidMailer) as caught:
                mailers["bulk"]
            assert str(caught.value) == (
                "MAILERS['bulk']: The 'use_ssl' and 'use_tls' OPTIONS are incompatible. "
                "Set at most one of them to True."
            )

        def test_what_the_mailer_refuses_is_an_invalid_mailer(self, use_settings: Use) -> None:
            self.use(use_settings, bulk={"host": "h", "pool_size": 0})
            with pytest.raises(
                InvalidMailer, match=r"'bulk'\]: OPTIONS\['pool_size'\] must be 1 or more"
            ):
                mailers["bulk"]

        def test_credentials_of_one_call_go_before_the_options(self, use_settings: Use) -> None:
            self.use(use_settings, default={"host": "localhost", "username": "a", "password": "b"})
            with pytest.warns(RemovedInDjango2028Warning, match="get_connection"):
                backend = get_connection(username="tenant", password="word")
            assert (backend.username, backend.options.password) == ("tenant", Secret("word"))

        def test_unknown_arguments_without_an_alias_are_djangos_to_warn_of(
            self, use_email_settings: Use
        ) -> None:
            use_email_settings()
            with pytest.warns(RemovedInDjango2028Warning) as caught:
                EmailBackend(oops=1)
            words = [str(warning.message) for warning in caught]
            assert any("does not support 'oops'" in text for text in words)

        def test_a_backend_made_without_an_alias_beside_mailers_needs_a_host(
            self, use_settings: Use
        ) -> None:
            self.use(use_settings, default={"host": "h"})
            with (
                pytest.warns(RemovedInDjango2028Warning),
                pytest.raises(SettingsError, match="must define 'host'"),
            ):
                EmailBackend()

        def test_sending_raises_no_warning_of_ours(
            self, use_email_settings: Use, server: Any
        ) -> None:
            """Warnings are errors here: EMAIL_* are read without Django's warning."""
            from django.core.mail import send_mail

            use_email_settings(host=server.host, port=server.port)
            assert send_mail("s", "b", None, ["a@example.com"]) == 1

        def test_a_subclass_made_by_django_raises_no_warning(
            self, use_email_settings: Use, server: Any, monkeypatch: pytest.MonkeyPatch
        ) -> None:
            from django.core.mail import send_mail

            import django_integration

            class Tenants(EmailBackend):
                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    super().__init__(*args, **kwargs)
                    self.timeout = 9

            monkeypatch.setattr(django_integration, "Tenants", Tenants, raising=False)
            use_email_settings("django_integration.Tenants", host=server.host, port=server.port)
            assert send_mail("s", "b", None, ["a@example.com"]) == 1
