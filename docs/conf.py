"""The documentation as a site: `make site` writes it to build/site/ and fails on any warning."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from plm_scaling import __version__

project = "plm-scaling"
author = "the plm-scaling authors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "cyclopts.ext.sphinx"]
html_theme = "furo"
html_title = f"plm-scaling {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_heading_anchors = 4  # for links such as running.md#stages, with the names that GitHub gives
autodoc_typehints = "description"
autodoc_member_order = "bysource"
default_role = "literal"
smartquotes = False  # it makes a dash of -- in options
html_show_copyright = False
