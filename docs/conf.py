"""The documentation site, built by ``make docs``.

Its source folder is the repository, so the links between the Markdown pages are the same on the
site and in a repository viewer. docs/index.rst is the first page and lists all others.
"""

import os
import re
from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx

from mmres_plugin import __version__

ROOT = Path(__file__).resolve().parents[1]

project = "mmres_plugin"
author = "The mmres_plugin authors"
version = release = __version__
root_doc = "docs/index"
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".py": "myst-nb"}
source_suffix[".rst"] = "restructuredtext"
include_patterns = ["*.md", "docs/**.md", "docs/**.rst", "demo/*.ipynb", "tests/**.md"]
include_patterns += ["configs/*/README.md", "configs/*/*.py", "tests/docs/test_other_packages.py"]
# Sphinx looks for pages in all other folders, and an environment has many.
PAGE_FOLDERS = ("configs", "demo", "docs", "tests")
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir()]
exclude_patterns = [name for name in exclude_patterns if name not in PAGE_FOLDERS]
# The changelog has the words of all other pages, and a config those of all configs.
NOT_SEARCHED = ("CHANGELOG", "README_zh-CN", "configs/*/[!R]*", "tests/*")

myst_heading_anchors = 3
myst_html_meta = {
    "description": "Residual backbones (SReResNet, IResNet, EDResNet, SEResNeXt) for the configs "
    "of MMPretrain, MMDetection and their relatives: install, train, predict, export."
}
nb_execution_mode = "off"

autodoc_class_signature = "separated"  # a class begins with words, not with its arguments
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of data classes are members already
add_module_names = False
maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "mmres_plugin"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["groups"]}
html_show_sourcelink = False
html_show_copyright = False
html_domain_indices = False
html_theme_options = {
    "navbar_center": [],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "article_header_start": [],
    "footer_end": [],
}
if repository := os.environ.get("GITHUB_REPOSITORY"):  # set where a workflow builds the site
    html_theme_options["github_url"] = f"https://github.com/{repository}"


def prepare_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn a Python file into a page, links to folders into their text, and hide what is hidden."""
    folder = ROOT.joinpath(page).parent

    def text_of_folder(link: re.Match) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    if app.env.doc2path(page).suffix == ".py":
        source[0] = f"# {page}.py\n\n```python\n{source[0]}```\n"
    else:
        source[0] = re.sub(r"\[([^\]]+)\]\(([^)#:\s]+)\)", text_of_folder, source[0])
    if any(fnmatch(page, pattern) for pattern in NOT_SEARCHED):
        source[0] = "---\norphan: true\nnosearch: true\n---\n\n" + source[0]


def add_start_page(app: Sphinx, error: Exception | None) -> None:
    """Make a browser that opens the folder of the site show its first page."""
    if error is None:
        page = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        Path(app.outdir, "index.html").write_text(page)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", prepare_page)
    app.connect("build-finished", add_start_page)
