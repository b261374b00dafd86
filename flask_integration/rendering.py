"""How an application wants its messages written, apart from what they say."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, has_app_context

__all__ = ["Rendering", "current_rendering"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """The part of the configuration that a message's bytes depend on.

    ``text_from_html`` is None for: where its library is installed.
    """

    charset: str = "utf-8"
    ascii_filenames: bool = False
    local_time: bool = True
    inline_css: bool = False
    text_from_html: bool | None = None


def current_rendering() -> Rendering:
    """The current application's, or the defaults where there is none."""
    state = current_app.extensions.get("mail") if has_app_context() else None
    found = getattr(state, "rendering", None)
    return found if isinstance(found, Rendering) else Rendering()
