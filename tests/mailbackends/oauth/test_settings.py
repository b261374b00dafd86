"""Token providers described by options: in arguments, URLs and files."""

from __future__ import annotations

import stat
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbackends import ConfigurationError, Options
from support.token_endpoint import TokenEndpoint

SECRET = "S3CRET-of-the-client"
REFRESH = "R3FRESH-token"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as endpoint:
        yield endpoint


def given(endpoint: TokenEndpoint, **more: object) -> dict[str, object]:
    return {
        "username": "shop@example.com",
        "oauth": "refresh_token",
        "token_url": endpoint.url,
        "client_id": "shop",
        "client_secret": SECRET,
        "refresh_token": REFRESH,
        **more,
    }


def token(options: Options) -> str:
    assert options.credentials is not None
    assert options.credentials.token_provider is not None
    return options.credentials.token_provider()


def test_options_name_the_provider_and_equal_options_share_its_tokens(
    endpoint: TokenEndpoint,
) -> None:
    one, two = (Options.from_mapping(given(endpoint)) for _ in range(2))
    assert (token(one), token(two), token(one.replace(pool_size=9))) == ("token-1",) * 3
    assert len(endpoint.forms) == 1
    assert (endpoint.forms[0]["client_secret"], endpoint.forms[0]["refresh_token"]) == (
        SECRET,
        REFRESH,
    )


def test_a_url_names_the_provider(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{REFRESH}\n")
    options = Options.from_url(
        f"smtp://shop%40example.com@localhost?oauth=refresh_token&token_url={endpoint.url}"
        f"&client_id=url&refresh_token_file={tmp_path / 'token'}"
    )
    assert token(options) == "token-1"


def test_a_replaced_refresh_token_is_written_where_it_was_read(
    endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(REFRESH)
    endpoint.answers = [(200, {"refresh_token": "second"})]
    values = given(endpoint, refresh_token_file=str(path), client_id="rotating")
    del values["refresh_token"]
    assert token(Options.from_mapping(values)) == "token-1"
    assert path.read_text() == "second\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_secrets_may_come_from_the_environment(
    endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILBACKENDS_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("MAILBACKENDS_REFRESH_TOKEN", REFRESH)
    values = given(endpoint, client_id="environment", client_secret=None, refresh_token=None)
    token(Options.from_mapping(values))
    assert endpoint.forms[0]["refresh_token"] == REFRESH


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"oauth": "gogle"}, "oauth must be one of 'microsoft', 'google', 'refresh_token'"),
        ({"oauth": None}, "is given without oauth"),
        ({"username": None}, "oauth is given without username"),
        ({"password": "x"}, "oauth and password are both set"),
        ({"token_url": None}, "needs token_url: set it"),
        ({"token_url": "http://id.example.com/"}, "must begin with https://"),
        ({"tenant": "contoso"}, "tenant does not belong to oauth='refresh_token'"),
        ({"client_secret_file": "x"}, "client_secret and client_secret_file are both set"),
        ({"refresh_token": None}, "needs refresh_token_file, or MAILBACKENDS_REFRESH_TOKEN"),
        (
            {"refresh_token": None, "refresh_token_file": "/nowhere/token"},
            "refresh_token_file '/nowhere/token': No such file",
        ),
    ],
    ids=str,
)
def test_a_mistake_names_the_option_and_shows_no_secret(
    endpoint: TokenEndpoint, changes: dict[str, object], text: str
) -> None:
    values = {k: v for k, v in given(endpoint, **changes).items() if v is not None}
    with pytest.raises(ConfigurationError, match=text) as caught:
        Options.from_mapping(values)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame.locals for frame in report.stack if frame.filename != __file__]
    assert SECRET not in f"{report} {frames}"
    assert REFRESH not in f"{report} {frames}"
