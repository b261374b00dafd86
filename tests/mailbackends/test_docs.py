"""Runs the samples in the pages about the Mailer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SAMPLES = [
    pytest.param(
        "\n".join(
            block
            for block in _BLOCK.findall((DOCS / f"{page}.md").read_text("utf-8"))
            if not re.match(r"# \w+_app\.py", block)  # these need a framework
        ),
        id=page,
    )
    for page in (
        *("mailer", "failover", "rate-limit", "observability", "oauth", "providers", "async"),
        "dkim",
    )
]


@pytest.mark.parametrize("code", SAMPLES)
def test_the_samples_of_a_page_run_without_a_connection_before_the_first_message(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refresh-token").write_text("token\n")
    if "oauth.microsoft" in code:
        pytest.importorskip("msal", reason="msal is not installed here")
    if "otel" in code:
        pytest.importorskip("opentelemetry", reason="OpenTelemetry is not installed here")
        from mailbackends import otel

        monkeypatch.setattr(otel, "subscribe", lambda hook: lambda: None)
        monkeypatch.setattr(otel, "_uninstrument", [])
    names: dict[str, object] = {}
    exec(compile(code, "sample", "exec"), names)  # noqa: S102
    if shared := names.get("shared"):
        pytest.importorskip("limits", reason="the library limits is not installed here")
        assert callable(shared)
        shared()


@pytest.mark.parametrize("page", ["failover", "rate-limit", "observability"])
def test_every_option_that_a_page_names_exists(page: str) -> None:
    from mailbackends import Options

    named = set(re.findall(r"`((?:circuit|rate)_\w+)`", (DOCS / f"{page}.md").read_text("utf-8")))
    assert named <= set(Options.known())


def test_every_name_that_is_recorded_is_in_the_page() -> None:
    pytest.importorskip("opentelemetry", reason="OpenTelemetry is not installed here")
    from mailbackends import otel

    page = (DOCS / "observability.md").read_text("utf-8")
    source = Path(otel.__file__).read_text("utf-8")
    names = set(re.findall(r'"((?:messaging|mailbackends|server|error)\.[\w.]+)"', source))
    assert len(names) > 15
    missing = {
        name for name in names if name not in page and f"`.{name.rpartition('.')[2]}`" not in page
    }
    assert missing == set()
