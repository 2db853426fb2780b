"""Repositories of the Hugging Face Hub: written, read and loaded, without the hub.

``hf_hub_download`` itself runs, on a cache that is laid out as it leaves it behind.
"""

from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import pytest
import torch
from helpers import call
from helpers.weights import SMALL, write_trained
from huggingface_hub import ModelCard, constants
from huggingface_hub.errors import RepositoryNotFoundError
from mmengine.registry import MODELS
from mmpretrain import get_model

from mmres_plugin.errors import UserError
from mmres_plugin.predict import Predictor
from mmres_plugin.weights import read_checkpoint
from mmres_plugin.weights.hugging_face import WEIGHTS, download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = ("cat", "dog", "hare")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Configs and checkpoints of a detector and a classifier, and their repositories."""
    home = tmp_path_factory.mktemp("home")
    write_trained(home, NAMES)
    for name in ("det", "cls"):
        files = (home / f"{name}.py", home / f"{name}.pth")
        assert call("push", *files, f"me/{name}", "--folder", home / name, "--license", "mit") == 0
    return home


@pytest.fixture
def hub(home, tmp_path, monkeypatch) -> Path:
    """The cache after ``hf download`` of both, and no network."""
    for name in ("det", "cls"):
        cached = tmp_path / f"models--me--{name}"
        (cached / "refs").mkdir(parents=True)
        (cached / "refs/main").write_text(COMMIT)
        (cached / "snapshots").mkdir()
        (cached / "snapshots" / COMMIT).symlink_to(home / name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_the_files_of_a_repository(home):
    assert sorted(path.name for path in (home / "det").iterdir()) == [
        *("README.md", "config.py", "model.safetensors"),
    ]
    card = ModelCard.load(home / "det/README.md")
    assert card.data.library_name == "mmres_plugin"
    assert card.data.pipeline_tag == "object-detection"
    assert card.data.license == "mit"
    assert "Classes: cat, dog, hare" in card.text
    assert "mmres predict photo.jpg hf://me/det" in card.text
    assert str(home) not in (home / "det/config.py").read_text()  # no paths of the author's
    meta = read_checkpoint(home / "det" / WEIGHTS)["meta"]
    assert meta["dataset_meta"]["classes"] == list(NAMES)
    assert not {"config", "time"} & set(meta)


def test_a_card_that_was_edited_stays(home, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    assert call("push", home / "cls.py", home / "cls.pth", "me/cls", "--folder", tmp_path) == 0
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["det", "cls"])
def test_predictions_from_the_hub(home, hub, name):
    """The model of the repository says what the trained one says."""
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(hub / "a.png"), image)
    ours = Predictor(home / f"{name}.py", home / f"{name}.pth", "cpu", 0.0)([hub / "a.png"])
    theirs = Predictor(f"hf://me/{name}", device="cpu", score_threshold=0.0)([hub / "a.png"])
    assert ours[0]
    assert theirs == ours


def test_get_model_and_init_cfg(home, hub):
    state = torch.load(home / "cls.pth", weights_only=True)["state_dict"]
    model = get_model(str(home / "cls.py"), pretrained="hf://me/cls")
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)
    cfg = dict(type="mmres_plugin.SReResNet", depth=18, **SMALL)
    cfg["init_cfg"] = dict(
        type="Pretrained", checkpoint="hf://me/cls@main/model.safetensors", prefix="backbone."
    )
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    assert torch.equal(backbone.conv1.weight, state["backbone.conv1.weight"])


def test_what_cannot_be_fetched(hub):
    for address in ("hf://me/gone", "hf://me/cls/gone.pth"):
        answer = f"{address} could not be fetched: .*Without a connection, run .hf download me/"
        with pytest.raises(FileNotFoundError, match=answer):
            read_checkpoint(address)
    for address in ("hf://me", "hf://me/", "hf://", "hf://a b/c"):
        with pytest.raises(ValueError, match="is not an address on the Hugging Face Hub"):
            download(address)


def test_what_the_hub_refuses(monkeypatch):
    def refuse(*args, **kwargs):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)  # without a response

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    answer = "hf://me/x could not be fetched: RepositoryNotFoundError Private ones need `hf auth"
    with pytest.raises(FileNotFoundError, match=answer):
        read_checkpoint("hf://me/x")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("gone.py cls.pth me/x --folder out", "there is no config gone.py"),
        ("cls.py gone.pth me/x --folder out", "there is no checkpoint file"),
        ("cls.py det.pth me/x --folder out", "det.pth does not fit the model"),
        ("cls.py cls.pth x --folder out", "repository: x must be owner/name"),
        ("cls.py cls.pth me/x --folder cls.py/a", "Not a directory"),
    ],
)
def test_wrong_commands(home, monkeypatch, command, answer):
    monkeypatch.chdir(home)
    with pytest.raises(UserError, match=answer):
        call("push", *command.split())
    assert not Path("out").exists()


def test_upload_without_a_network(home, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="me/cls was not uploaded"):
        call("push", home / "cls.py", home / "cls.pth", "me/cls")
