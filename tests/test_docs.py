"""The documentation holds: links lead somewhere, snippets of configs build."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import mmres_plugin  # noqa: F401

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("configs/*/*.md"),
    *ROOT.glob("tests/**/*.md"),
]
GUIDE = ROOT / "docs/config_guide.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
BACKBONES = [snippet for snippet in SNIPPETS if "backbone=" in snippet]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target = link.partition("#")[0]
        if target and "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_files_that_exist(page):
    for path in re.findall(r"\b((?:configs|tools)/[\w./-]+\.(?:py|sh))\b", page.read_text("utf-8")):
        assert (ROOT / path).exists(), f"{page.name} speaks of {path}"


def test_messages_of_the_page_are_those_of_the_code():
    code = "".join(path.read_text("utf-8") for path in (ROOT / "mmres_plugin").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", code)  # texts that go over several lines
    table = (ROOT / "docs/troubleshooting.md").read_text("utf-8").partition("|---|---|")[2]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert len(rows) > 10
    for message in re.findall(r"`(.*?)`", " ".join(rows)):
        for part in message.split("…"):
            assert part.strip(" :") in code, f"no message has {part!r}"


@pytest.mark.parametrize("snippet", BACKBONES)
def test_backbones_of_the_config_guide_build(snippet):
    config = Config.fromstring(snippet, ".py")
    backbone = config.model.backbone
    outputs = MODELS.build(backbone).eval()(torch.zeros(1, 3, 64, 64))
    assert len(outputs) == len(backbone.get("out_indices", (3,)))


def test_there_are_snippets():
    assert len(BACKBONES) > 8
