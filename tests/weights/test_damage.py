"""500 damaged checkpoints, opened by everything that opens one: an error of ours, and no output.

``pytest -m slow -rP tests/weights/test_damage.py`` prints what became of them.
"""

import io
import random
from collections import Counter

import pytest
import torch

from mmres_plugin.models import SReResNet
from mmres_plugin.weights import (
    convert_checkpoint,
    load_pretrained,
    publish_checkpoint,
    read_checkpoint,
)
from mmres_plugin.weights.files import find_state_dict, open_checkpoint

STEPS = 500


def good_files() -> dict[str, bytes]:
    """A small checkpoint in each format, with what a training adds."""
    backbone = SReResNet(18, stem_channels=8, base_channels=8)
    tensors = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    content = {"state_dict": tensors, "meta": {"epoch": 3}, "optimizer": {"state": {0: [1, 2]}}}
    files = {}
    for name, is_new in (("zip.pth", True), ("legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=is_new)
        files[name] = buffer.getvalue()
    return files


def damaged(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """``content`` with something wrong, and what."""
    place = rng.randrange(len(content))
    if rng.random() < 0.4:  # names and numbers are at the ends
        place = rng.choice([rng.randrange(400), len(content) - 1 - rng.randrange(400)])
    length = rng.choice([1, 1, 4, 64])
    noise = bytes(rng.randrange(256) for _ in range(length))
    kind = rng.choice(["changed", "changed", "cut", "lost", "repeated", "zeroed"])
    return kind, {
        "changed": content[:place] + noise + content[place + length :],
        "cut": content[:place],
        "lost": content[:place] + content[place + length :],
        "repeated": content[: place + length] + content[place:],
        "zeroed": content[:place] + bytes(512) + content[place + 512 :],
    }[kind]


TOOLS = (
    lambda path, out: convert_checkpoint(path, out, source="mmpretrain"),
    publish_checkpoint,
    lambda path, out: open_checkpoint(path, "load_from"),
    lambda path, out: load_pretrained(
        SReResNet(18, stem_channels=8, base_channels=8), str(path), allow_partial=True
    ),
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_random_damage(tmp_path, name):
    """None ends raw, none leaves an output; in ZIP files no changed tensor is accepted."""
    content = good_files()[name]
    path, folder = tmp_path / name, tmp_path / "out"
    path.write_bytes(content)
    good = find_state_dict(read_checkpoint(path), path)
    rng, count = random.Random(0), Counter()
    for step in range(STEPS // 2):
        kind, spoilt = damaged(content, rng)
        path.write_bytes(spoilt)
        try:
            TOOLS[step % len(TOOLS)](path, folder / "out.pth")
            found = find_state_dict(read_checkpoint(path), path)
            same = found.keys() == good.keys() and all(t.equal(good[n]) for n, t in found.items())
            result = "unchanged" if same else "changed"
        except (ValueError, OSError):
            result = "refused"
        count[result] += 1
        written = list(folder.glob("*")) if folder.is_dir() else []
        assert not (result == "refused" and written), (step, kind)
        for one in written:
            one.unlink()
    print(name, dict(count))
    if name == "zip.pth":
        assert not count["changed"]
