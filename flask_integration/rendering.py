"""How an application wants its messages rendered, and what is done to their HTML.

Mail programs need styles on the elements and a text alternative. Both are made by libraries
that do only that: ``python -m pip install "mailbackends[html]"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flask import current_app, has_app_context

from mailbackends import ConfigurationError

__all__ = [
    "Rendering",
    "can_make_text",
    "current_rendering",
    "inline_styles",
    "require_libraries",
    "text_of",
]


@dataclass(frozen=True, slots=True)
class Rendering:
    """The part of the configuration that a message's bytes depend on."""

    charset: str = "utf-8"
    ascii_filenames: bool = False
    local_time: bool = True
    inline_css: bool = False
    text_from_html: bool | None = None
    """None: if the library is installed."""


def current_rendering() -> Rendering:
    """Return the current application's rendering, or the defaults if there is none."""
    state = current_app.extensions.get("mail") if has_app_context() else None
    found = getattr(state, "rendering", None)
    return found if isinstance(found, Rendering) else Rendering()


def inline_styles(html: str) -> str:
    """Return ``html`` with the rules of its ``<style>`` elements as ``style`` attributes.

    Nothing is fetched: linked style sheets stay links.

    Raises:
        ConfigurationError: `css_inline` is not installed.
    """
    css_inline = _library("css_inline", "MAIL_INLINE_CSS")
    # A media query cannot become an attribute; it stays, for the programs that read it.
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_at_rules=True, keep_link_tags=True
    )
    return str(inliner.inline(html))


def text_of(html: str) -> str:
    """Return the text that a reader of ``html`` would see, with the targets of its links.

    Raises:
        ConfigurationError: `inscriptis` is not installed.
    """
    inscriptis = _library("inscriptis", "MAIL_TEXT_FROM_HTML")
    styles = _library("inscriptis.css_profiles", "MAIL_TEXT_FROM_HTML").CSS_PROFILES["strict"]
    config = _library("inscriptis.model.config", "MAIL_TEXT_FROM_HTML").ParserConfig(
        css=styles.copy(), display_links=True
    )
    text: str = inscriptis.get_text(html, config)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


@cache
def can_make_text() -> bool:
    """Return whether the library that `text_of` needs is installed."""
    return find_spec("inscriptis") is not None


def require_libraries(*, inline_css: bool, text_from_html: bool | None) -> None:
    """Check at start-up that the libraries the configuration asks for are installed.

    Raises:
        ConfigurationError: one is missing. The text says how to install it.
    """
    if inline_css:
        _library("css_inline", "MAIL_INLINE_CSS")
    if text_from_html:
        _library("inscriptis", "MAIL_TEXT_FROM_HTML")


def _library(module: str, key: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ConfigurationError(
            f"{key} needs the package {package}: "
            'python -m pip install "mailbackends[html]", or set it to False'
        ) from error
