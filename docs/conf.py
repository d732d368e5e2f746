from importlib import metadata

project = "latentlabels"
version = release = metadata.version("latentlabels")
copyright = "the latentlabels authors"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
templates_path = ["_templates"]

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # Made by scikit-learn, with references into its own documentation.
    "exclude-members": "set_fit_request, set_score_request",
}
# Overrides of Lightning's and scikit-learn's methods would bring those projects' texts along.
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Docstrings set code in single backticks.
default_role = "code"

html_theme = "furo"
html_title = "latentlabels"
