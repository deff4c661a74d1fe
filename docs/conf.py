"""How Sphinx builds these pages: ``make docs``, or ``sphinx-build -W docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

_DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(_DOCS.parent), str(_DOCS / "_extensions")]

import mailkit  # noqa: E402 - found by the line above

project = "mailkit"
author = "the mailkit authors"
copyright = author
version = release = mailkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "interface_reference"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
# Annotations as they are written, not as they are resolved.
python_use_unqualified_type_names = True

html_theme = "alabaster"
html_theme_options = {"description": "Mail protocols for Twisted", "page_width": "1000px"}
html_copy_source = False
# Nothing is fetched: the build needs no network.
html_show_sphinx = False
