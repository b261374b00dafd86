"""HTML as mail programs need it: styles on the elements, and a text beside it.

Both are made by libraries that do only that: ``python -m pip install "mailbackends[html]"``.
``setting`` is the name of what asks for them, for the text of an error.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mailbackends.errors import ConfigurationError

__all__ = ["can_make_text", "inline_styles", "require_libraries", "text_of"]


def inline_styles(html: str, *, setting: str) -> str:
    """Return ``html`` with the rules of its ``<style>`` elements as ``style`` attributes.

    Nothing is fetched: linked style sheets stay links.

    Raises:
        ConfigurationError: `css_inline` is not installed.
    """
    css_inline = _library("css_inline", setting)
    # A media query cannot become an attribute; it stays, for the programs that read it.
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_at_rules=True, keep_link_tags=True
    )
    return str(inliner.inline(html))


def text_of(html: str, *, setting: str) -> str:
    """Return the text that a reader of ``html`` would see, with the targets of its links.

    Raises:
        ConfigurationError: `inscriptis` is not installed.
    """
    inscriptis = _library("inscriptis", setting)
    styles = _library("inscriptis.css_profiles", setting).CSS_PROFILES["strict"]
    config = _library("inscriptis.model.config", setting).ParserConfig(
        css=styles.copy(), display_links=True
    )
    text: str = inscriptis.get_text(html, config)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


@cache
def can_make_text() -> bool:
    """Return whether the library that `text_of` needs is installed."""
    return find_spec("inscriptis") is not None


def require_libraries(*, inline_css: str | None, text_from_html: str | None) -> None:
    """Check at start-up that the libraries are installed for the settings with these names.

    Raises:
        ConfigurationError: one is missing. The text says how to install it.
    """
    if inline_css:
        _library("css_inline", inline_css)
    if text_from_html:
        _library("inscriptis", text_from_html)


def _library(module: str, setting: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ConfigurationError(
            f"{setting} needs the package {package}: "
            'python -m pip install "mailbackends[html]", or set it to False'
        ) from error
