"""The documentation site: ``python -m tox -e docs`` builds it into ``.tox/docs/html``."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_integration"],
        SECRET_KEY=os.urandom(16).hex(),
    )
    django.setup()

project = "mailbackends"
author = "mailbackends contributors"
copyright = "2026, mailbackends contributors"
version = release = installed_version("mailbackends")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = f"mailbackends {version}"
html_theme_options = {"navigation_with_keys": True}

# Headings can be linked to, as on the pages of a code host.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
suppress_warnings = ["myst.header"]

# A name in single backquotes in a docstring is a link if it is documented.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True

# Copied commands come without the prompt.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# `python -m tox -e docs -- linkcheck` follows the links to other sites; the build itself checks
# those between pages, and needs no network.
linkcheck_timeout = 10
linkcheck_anchors = False
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)"]
