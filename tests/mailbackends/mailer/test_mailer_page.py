"""docs/mailer.md names each option with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from mailbackends import Options

PAGE = (Path(__file__).parents[3] / "docs" / "mailer.md").read_text("utf-8")
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `(.+?)` \|", PAGE, re.MULTILINE)


def test_the_table_has_each_option_with_its_default() -> None:
    told = {name: default for names, default in ROWS for name in re.findall(r"`(\w+)`", names)}
    assert told == {option.name: repr(option.default) for option in fields(Options)}
