"""HTML as mail programs need it: the options ``inline_css`` and ``text_from_html``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_integration.compat import configuration_error
from mailbackends import ConfigurationError
from mailbackends.integration import inline_styles, require_libraries, text_of

__all__ = ["Rendering", "rendered", "rendering_from"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What is done with the HTML of a message before it is sent."""

    inline_css: bool = False
    text_from_html: bool = False

    @property
    def is_active(self) -> bool:
        """True if there is anything to do."""
        return self.inline_css or self.text_from_html


def rendering_from(options: Mapping[str, Any], alias: str | None) -> Rendering:
    """The values of the two options.

    Raises:
        SettingsError: a value is not True or False, or a library is missing. InvalidMailer: the
            same, with an alias.
    """
    inline, text = options.get("inline_css"), options.get("text_from_html")
    if not inline and not text:
        return Rendering()
    try:
        require_libraries(
            inline_css="'inline_css'" if inline else None,
            text_from_html="'text_from_html'" if text else None,
        )
    except ConfigurationError as error:
        raise configuration_error(f"{error}.", alias) from error
    return Rendering(bool(inline), bool(text))


def rendered(message: EmailMessage, rendering: Rendering) -> EmailMessage:
    """The message as it is to be sent; the one that was given does not change.

    Only Django's own classes are changed, with HTML as an alternative or as the body: a subclass
    may write it in another way.
    """
    kind = type(message)
    if not rendering.is_active or kind not in (EmailMessage, EmailMultiAlternatives):
        return message
    if message.content_subtype == "html":
        return _with_html_body(message, rendering)
    alternatives = list(getattr(message, "alternatives", None) or ())
    place = next((n for n, each in enumerate(alternatives) if each[1] == "text/html"), None)
    if place is None or not isinstance(alternatives[place][0], str):
        return message
    html = alternatives[place][0]
    changed: Any = copy.copy(message)
    if rendering.text_from_html and not message.body:
        changed.body = text_of(html, setting="'text_from_html'")
    if rendering.inline_css:
        alternatives[place] = _alternative(
            alternatives[place], inline_styles(html, setting="'inline_css'")
        )
        changed.alternatives = alternatives
    return changed  # type: ignore[no-any-return]


def _with_html_body(message: EmailMessage, rendering: Rendering) -> EmailMessage:
    html = str(message.body)
    if rendering.text_from_html and not getattr(message, "alternatives", None):
        changed: Any = copy.copy(message)
        changed.__class__ = EmailMultiAlternatives
        changed.content_subtype = "plain"
        changed.body = text_of(html, setting="'text_from_html'")
        changed.alternatives = []
        styled = inline_styles(html, setting="'inline_css'") if rendering.inline_css else html
        changed.attach_alternative(styled, "text/html")
        return changed  # type: ignore[no-any-return]
    if not rendering.inline_css:
        return message
    changed = copy.copy(message)
    changed.body = inline_styles(html, setting="'inline_css'")
    return changed  # type: ignore[no-any-return]


def _alternative(given: Any, content: str) -> Any:
    return given._replace(content=content) if hasattr(given, "_replace") else (content, given[1])
