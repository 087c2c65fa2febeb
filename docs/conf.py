"""Sphinx configuration. `scripts/docs` builds the site; warnings, such as broken links within it, are errors."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE / "_ext"), str(HERE.parent / "src")]

from pnasnet import __version__  # noqa: E402

project = "pnasnet"
author = "the pnasnet authors"
project_copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.openapi",
    "command_help",
    "http_reference",
]
exclude_patterns = ["_build", "build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the stored outputs are shown; tests/docs/test_notebooks.py runs the notebooks

default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True}
# Imported only for types, or heavy: their absence must not keep the site from being built. Training needs torch itself.
autodoc_mock_imports = ["ray", "sklearn", "scipy", "umap", "matplotlib", "keras", "timm", "nncf"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"pnasnet {__version__}"
html_static_path = ["_static"]
html_js_files = ["site.js"]
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

linkcheck_timeout = 20
linkcheck_anchors = False
