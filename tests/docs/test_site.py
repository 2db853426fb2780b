"""The search of the site leads to the page that is about the word."""

import json
import sys

import pytest
from helpers import ROOT, run
from sphinx.search.en import SearchEnglish

QUERIES = {
    "own data": "docs/own_data",
    "video": "docs/predict",
    "in_channels": "docs/config_guide",
}


def first_hit(index: dict, query: str) -> str:
    """The page with the highest score, by the rules of Sphinx's searchtools.js."""

    def listed(pages: int | list[int]) -> list[int]:
        return pages if isinstance(pages, list) else [pages]

    def points(word: str, page: int) -> int:
        word = SearchEnglish({}).stem(word)
        title, text = (index[kind].get(word, []) for kind in ("titleterms", "terms"))
        return 15 * (page in listed(title)) or 5 * (page in listed(text))

    titles, scores = index["titles"], {}
    for page in range(len(titles)):
        each = [points(word, page) for word in query.split()]
        scores[page] = max(each) if all(each) else 0
    for title, pages in index["alltitles"].items():
        if query in title.lower() and 2 * len(query) >= len(title):
            for page, _ in pages:  # the title of a whole page counts a little more
                own = round(15 * len(query) / len(title)) + (title == titles[page])
                scores[page] = max(scores[page], own)
    for objects in index["objects"].values():
        scores |= {page: 16 for page, *_, name in objects if name.lower() == query}
    best = min(scores, key=lambda page: (-scores[page], titles[page].lower()))
    return index["docnames"][best]


@pytest.mark.slow
def test_a_search_finds_the_page_first():
    site = ROOT / "build/docs"  # as `make docs` builds it, and at once where it has
    folders = ("-c", ROOT / "docs", "-d", site.with_name("doctrees"), ROOT, site)
    run(sys.executable, "-m", "sphinx", "--quiet", *folders)
    text = (site / "searchindex.js").read_text("utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert {query: first_hit(index, query) for query in QUERIES} == QUERIES
