"""What docs/mailbox.md shows runs, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends.mailbox.faults import KINDS
from mailbackends.mailbox.routes import _ROUTES

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "mailbox.md").read_text("utf-8")
SAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if "serve" in s or "@preview" in s])
def test_the_samples_run(sample: str) -> None:
    exec(compile(sample, "docs/mailbox.md", "exec"), {})  # noqa: S102


def test_every_kind_of_fault_is_in_the_page() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE, re.MULTILINE)) == set(KINDS)


def test_every_request_in_the_page_has_a_route() -> None:
    shown = re.findall(r"`(GET|POST|DELETE) ((?:api|messages)/[^?` ]*)", PAGE)
    assert len(shown) >= 10
    for method, path in shown:
        assert any(verb == method and pattern.fullmatch(path) for verb, pattern, _ in _ROUTES), path


def test_every_picture_exists() -> None:
    pictures = re.findall(r"\]\(([\w-]+\.png)\)", PAGE)
    assert {path.name for path in DOCS.glob("mailbox-*.png")} == set(pictures)
