"""A list of servers: what it may contain, and what applies to all of them."""

from __future__ import annotations

import pytest

from mailbackends import ConfigurationError, Mailer, Options


def test_one_server_is_the_list_of_one() -> None:
    with Mailer("smtp://one.example.com") as mailer, Mailer(["smtp://one.example.com"]) as listed:
        assert mailer.servers == listed.servers == (mailer.options,)


def test_keyword_arguments_are_for_all_servers_and_take_precedence() -> None:
    servers: list[str | Options] = ["smtps://one.example.com?timeout=5"]
    servers.append(Options(host="two.example.com"))
    with Mailer(servers, timeout=7.0, pool_size=2) as mailer:
        assert [(each.host, each.timeout, each.pool_size) for each in mailer.servers] == [
            ("one.example.com", 7.0, 2),
            ("two.example.com", 7.0, 2),
        ]
        assert mailer.options is mailer.servers[0]


def test_the_list_may_be_any_iterable() -> None:
    with Mailer(f"smtp://{name}.example.com" for name in ("one", "two")) as mailer:
        kind = type(mailer).__name__
        assert (
            repr(mailer) == f"<{kind} smtp none one.example.com:25, smtp none two.example.com:25>"
        )


@pytest.mark.parametrize(
    ("servers", "options", "text"),
    [
        ([], {}, "the list of servers is empty"),
        (["smtp://one", 7], {}, "got int"),
        (7, {}, "a Mailer takes a URL, Options, or a list of them, got int"),
        (["smtp://one", "smtp://one:25"], {"port": 25}, "one:25 is listed twice"),
        (["smtp://one", "smtp://two?deadline=5"], {}, "deadline differs between one:25 and two:25"),
        (["smtp://one", "smtp://two"], {"tiemout": 5}, "did you mean 'timeout'"),
        (["smtp://one"], {"strategy": "random"}, "'ordered', 'round_robin'"),
        ("smtp://one", {"circuit_failures": 0}, "circuit_failures"),
        ("smtp://one", {"circuit_pause": -1}, "circuit_pause"),
    ],
)
def test_a_list_that_cannot_work_is_refused_with_a_fix(
    servers: object, options: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Mailer(servers, **options)  # type: ignore[arg-type]


def test_no_error_shows_a_password() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Mailer(["smtps://user:hunter2@one"] * 2)
    assert "hunter2" not in str(raised.value)
