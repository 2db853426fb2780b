"""The search of the site leads to the page that is about the word."""

import json
import sys

import numpy as np
import pytest
from helpers import ROOT, run
from sphinx.search.en import SearchEnglish


def first_hit(index: dict, query: str) -> str:
    """What Sphinx lists first: an object or page of this name, or a word in a heading."""
    pages = [page for page, part in index["alltitles"].get(query.capitalize(), []) if not part]
    pages = pages or [*np.atleast_1d(index["titleterms"].get(SearchEnglish({}).stem(query), []))]
    for objects in index["objects"].values():
        pages += [page for page, *_, name in objects if name.lower() == query]
    (page,) = pages
    return index["docnames"][page].removeprefix("docs/")


@pytest.mark.slow
def test_a_search_finds_the_page_first():
    site = ROOT / "build/docs"  # as `make docs` builds it, and at once where it has
    folders = ("-c", ROOT / "docs", "-d", site.with_name("doctrees"), ROOT, site)
    run(sys.executable, "-m", "sphinx", "--quiet", *folders)
    index = json.loads((site / "searchindex.js").read_text("utf-8")[len("Search.setIndex(") : -1])
    pages = {"own data": "own_data", "video": "predict", "in_channels": "config_guide"}
    assert {query: first_hit(index, query) for query in pages} == pages
