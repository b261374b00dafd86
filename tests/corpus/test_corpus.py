"""Every case of the corpus, by every interface that it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import corpus
from support.corpus import Case
from support.corpus_cases import check_settings, check_transcript

FOLDER = Path(__file__).parent


def each(kind: str, interfaces: tuple[str, ...]) -> Callable[[Any], Any]:
    """The cases of a folder; ``interfaces`` are those of a case that names none."""
    return pytest.mark.parametrize(
        ("case", "interface"),
        [
            pytest.param(case, interface, id=f"{case.name}-{interface}")
            for case in corpus.cases(FOLDER / kind, interfaces)
            for interface in case.interfaces
        ],
    )


def skip_what_cannot_run(case: Case, interface: str) -> None:
    if (package := corpus.missing(interface)) is not None:
        pytest.skip(f"{package} is not installed")
    if (reason := case.for_interface(interface).get("skip")) is not None:
        pytest.skip(reason)


@each("messages", ("mailer", "smtp", "django", "flask"))
def test_a_message_arrives_as_expected(case: Case, interface: str, tmp_path: Path) -> None:
    skip_what_cannot_run(case, interface)
    corpus.check(corpus.send(case, interface, tmp_path), case, interface)


@each("transcripts", ("mailer", "smtp", "django", "flask"))
def test_a_conversation_ends_as_expected(case: Case, interface: str) -> None:
    skip_what_cannot_run(case, interface)
    check_transcript(case, interface)


@each("settings", ("mailer", "django", "flask"))
def test_settings_mean_what_is_expected(case: Case, interface: str) -> None:
    skip_what_cannot_run(case, interface)
    check_settings(case, interface)
