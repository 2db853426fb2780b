"""The documentation site, built by ``make docs``.

Its source folder is the repository, so the links between the Markdown pages are the same on the
site and in a repository viewer. The pages have no Sphinx directives: the contents of each section
are added here.
"""

import re
from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx

from mmres_plugin import __version__

ROOT = Path(__file__).resolve().parents[1]

project = "mmres_plugin"
author = "The mmres_plugin authors"
version = release = __version__
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = ["*.md", "docs/**.md", "docs/**.rst", "configs/*/README.md", "tests/**.md"]
# Sphinx looks for pages in all other folders, and an environment has many.
PAGE_FOLDERS = ("docs", "configs", "tests")
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir()]
exclude_patterns = [name for name in exclude_patterns if name not in PAGE_FOLDERS]

myst_heading_anchors = 3
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
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}

# The pages of each section, in reading order. A pattern stands for all pages that no other line
# names; pages that do not exist are left out.
SECTIONS = {
    "README": ["docs/README", "docs/models", "docs/api/index", "CONTRIBUTING", "README_zh-CN"],
    "docs/performance": ["docs/performance/README"],
    "docs/README": [
        "docs/get_started",
        "docs/config_guide",
        "docs/fine_tuning",
        "docs/digits",
        "docs/predict",
        "docs/analysis",
        "docs/deployment",
        "docs/performance",
        "docs/reliability",
        "docs/study",
        "docs/experiments",
        "docs/troubleshooting",
        "docs/*",
    ],
    "docs/models": ["configs/*/README", "docs/weights"],
    "CONTRIBUTING": ["docs/add_a_backbone", "CHANGELOG", "tests/*", "*"],
}


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the table of contents to the first page of a section."""
    if page not in SECTIONS:
        return
    named = {name for names in SECTIONS.values() for name in names} | {root_doc}
    named |= {page for page in app.env.found_docs if page.startswith("docs/api/")}
    pages = []
    for name in SECTIONS[page]:
        found = sorted(other for other in app.env.found_docs if fnmatch(other, name))
        pages += [other for other in found if other == name or other not in named]
        named |= set(found)
    source[0] += "\n\n```{toctree}\n:hidden:\n\n/" + "\n/".join(pages) + "\n```\n"


def unlink_folders(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to folders, of which a site has no page, into their text."""
    folder = ROOT.joinpath(page).parent

    def text_of_folder(link: re.Match) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    source[0] = re.sub(r"\[([^\]]+)\]\(([^)#:\s]+)\)", text_of_folder, source[0])


def add_start_page(app: Sphinx, error: Exception | None) -> None:
    """Make a browser that opens the folder of the site show its first page."""
    if error is None:
        page = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        Path(app.outdir, "index.html").write_text(page)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("source-read", unlink_folders)
    app.connect("build-finished", add_start_page)
