"""A message's subject, text and HTML: from templates, and as an application wants them rendered."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, has_app_context
from jinja2 import Template, TemplateNotFound

from mailbackends import InvalidMessageError

__all__ = [
    "Rendered",
    "Rendering",
    "current_rendering",
    "render",
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


_PREFIX = "subject:"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The rendered templates. At least one of ``text`` and ``html`` is not None."""

    subject: str
    text: str | None
    html: str | None


def render(name: str, context: Mapping[str, Any], subject: str | None = None) -> Rendered:
    """Render ``name.txt`` and ``name.html`` as Flask does, with its context processors.

    Raises:
        jinja2.TemplateNotFound: neither exists.
        InvalidMessageError: the message has no subject.
        RuntimeError: no application context is active.
    """
    if not has_app_context():
        raise RuntimeError(
            "Message.from_template() needs the templates of an application: call it in a "
            "request, or inside 'with app.app_context():'"
        )
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    plain, rich = _find(app, f"{name}.txt"), _find(app, f"{name}.html")
    if plain is None and rich is None:
        raise TemplateNotFound(name, f"neither {name}.txt nor {name}.html was found")
    values = dict(context)
    app.update_template_context(values)
    text_subject, text = _render(plain, values)
    html_subject, markup = _render(rich, values)
    first_line, text = _first_line(text)
    subject = subject or text_subject or html.unescape(html_subject or "") or first_line
    if not subject:
        raise InvalidMessageError(
            f"the templates of {name!r} have no subject: begin {name}.txt with a line "
            "'Subject: ...', or define {% block subject %}, or pass subject="
        )
    # A line break in a value must not begin another header.
    return Rendered(" ".join(subject.split()), text, markup)


def _find(app: Flask, name: str) -> Template | None:
    try:
        return app.jinja_env.get_template(name)
    except TemplateNotFound as error:
        if error.name != name:  # a template that it includes or extends is missing
            raise
        return None


def _render(template: Template | None, values: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the block "subject" or None, and the text without that block."""
    if template is None:
        return None, None
    context = template.new_context(values)
    concat = template.environment.concat
    try:
        subject = None
        if "subject" in template.blocks:
            subject = concat(template.blocks["subject"](context))
            # The text leaves it out.
            context.blocks["subject"] = [lambda _: iter(())]
        return subject, concat(template.root_render_func(context)).lstrip("\r\n")
    except Exception:
        template.environment.handle_exception()


def _first_line(text: str | None) -> tuple[str, str | None]:
    """Return the subject in a first line ``Subject: ...``, and the text after it."""
    line, _, rest = (text or "").partition("\n")
    if not line.lower().startswith(_PREFIX):
        return "", text
    return line[len(_PREFIX) :].strip(), rest.lstrip("\r\n")
