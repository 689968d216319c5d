"""Settings of the documentation site: ``sphinx-build -W -c docs . build/site``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from recbole_sr import __version__

project = "recbole_sr"
version = release = __version__
html_title = f"{project} {version}"

# The source is the whole repository, so that the links between its documents lead somewhere on the
# site and on the forge alike.
root_doc = "docs/index"
include_patterns = ["docs/**", "results/**", "CHANGELOG.md"]
exclude_patterns = [".*", "**/_*", "build", "saved", "log"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "links",
    "reference",
]
nitpicky = True
smartquotes = False  # which make a dash of the two hyphens of an option
# Without their inventories, which are elsewhere, the types of other packages cannot be links.
nitpick_ignore_regex = [(r"py:.*", r"(?!recbole_sr\.).*")]
# Parts of docstrings' sentences that are no public names.
nitpick_ignore = [
    ("py:class", "recbole_sr.study.report.figures.Run"),
    ("py:class", "recbole_sr.objectives.peers.Peers"),
    ("py:func", "recbole_sr.study.cluster.joined"),
    ("py:func", "recbole_sr.study.summary.summarize"),
    ("py:mod", "recbole_sr.study.quick"),
]

myst_enable_extensions = ["deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

# CI executes the notebook by `-D nb_execution_mode=force`; else its saved outputs are shown.
nb_execution_mode = "off"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
html_show_copyright = False
