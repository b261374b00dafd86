"""What mail programs need of HTML: styles on the elements, and a text beside it.

Both by libraries that do only that, installed with ``pip install "mailbackends[html]"``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mailbackends import ConfigurationError

__all__ = ["can_make_text", "inline_styles", "require_libraries", "text_of"]


def inline_styles(html: str) -> str:
    """``html`` with the rules of its ``<style>`` elements on the elements themselves.

    Nothing is fetched: a style sheet that is linked to stays a link.

    Raises:
        ConfigurationError: `css_inline` is not installed.
    """
    css_inline = _library("css_inline", "MAIL_INLINE_CSS")
    # A media query cannot stand on an element: it stays, for the programs that read it.
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_at_rules=True, keep_link_tags=True
    )
    return str(inliner.inline(html))


def text_of(html: str) -> str:
    """The text that a reader of ``html`` would see, with the targets of its links.

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
    """True where `text_of` has its library."""
    return find_spec("inscriptis") is not None


def require_libraries(*, inline_css: bool, text_from_html: bool | None) -> None:
    """Ask at start-up for what the configuration says is used.

    Raises:
        ConfigurationError: it is not installed. The text names the mend.
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
            f"{key} is on and the package {package} is missing: install it with "
            'pip install "mailbackends[html]", or set it to False'
        ) from error
