"""The speed command, at its smallest."""

import csv
import re
import struct
from pathlib import Path

import pytest
import torch
from helpers import ROOT, call
from torch import nn

from mmres_plugin.analysis.speed import build_network
from mmres_plugin.errors import UserError

QUICK = ["--batch", 2, "--size", 64, 64, "--rounds", 2, "--threads", 1]


def read(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (folder / "speed.csv").open() as file:
        return {(r["task"], r["network"], r["mode"]): r for r in csv.DictReader(file)}


class Tiny(nn.Module):
    """A network of one's own; and an ONNX file of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))


@pytest.fixture
def file(tmp_path) -> Path:
    """An ONNX file for images of any number and 64×64 pixels."""
    path = tmp_path / "tiny.onnx"
    dynamic = {"images": {0: "n"}}
    torch.onnx.export(
        *(Tiny(), (torch.zeros(2, 3, 64, 64),), path),
        **dict(input_names=["images"], dynamic_axes=dynamic, dynamo=False),
    )
    return path


def test_csv_table_and_plot(tmp_path, file, capsys):
    """Of a config, a name, a function and a file; ratios are to the first of them."""
    config = str(ROOT / "configs/digits/sreresnet18_digits.py")
    names = [config, f"{__name__}:Tiny", str(file)]
    modes = ["--modes", "eager", "folded", "bf16", "onnxruntime", "--task", "inference", "training"]
    with pytest.warns(UserWarning, match="none of the 1 norms"):  # foreign ones are not folded
        assert call("speed", *names, *QUICK, *modes, "--out", tmp_path) == 0
    rows = read(tmp_path)
    networks = [(name, mode) for name in names[:2] for mode in ("eager", "folded", "bf16")]
    expected = {("inference", *case) for case in [*networks, (str(file), "onnxruntime")]}
    expected |= {("training", *case) for case in networks if case[1] != "folded"}
    assert set(rows) == expected
    first = float(rows["inference", config, "eager"]["ms"])
    for (task, *_), row in rows.items():
        assert 0 < float(row["ms_low"]) <= float(row["ms"]) <= float(row["ms_high"])
        assert float(row["images_per_s"]) == pytest.approx(2000 / float(row["ms"]))
        if task == "inference":
            assert float(row["ratio"]) == pytest.approx(float(row["ms"]) / first)
    assert float(rows["training", config, "eager"]["ratio"]) == 1
    assert re.search(
        rf"inference  {re.escape(config)} +eager .* ms .* 1\.00", capsys.readouterr().out
    )
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_compiled(tmp_path):
    modes = ["--modes", "compiled", "--task", "inference", "training"]
    assert call("speed", f"{__name__}:Tiny", *QUICK, *modes, "--out", tmp_path) == 0
    assert len(read(tmp_path)) == 2


def test_redrawing(tmp_path):
    """The picture of performance.md is drawn from the measurements that lie next to it."""
    files = [ROOT / f"docs/performance/{name}.csv" for name in ("inference", "training")]
    networks = ("iresnet50", "timm-seresnext50")
    assert call("speed", *networks, "--plot", *files, "--out", tmp_path) == 0
    width, height = struct.unpack(">II", (tmp_path / "speed.png").read_bytes()[16:24])
    assert 500 < width < 800 and 200 < height < 600  # two panels next to each other
    assert [path.name for path in tmp_path.iterdir()] == ["speed.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["iresnet5O"], "'iresnet5O' is neither a config nor a model of the hub. Did you mean"),
        (["no_such_module:network"], "no_such_module:network: No module named 'no_such_module'"),
        (["torchvision.models:resnet5"], "has no attribute 'resnet5'"),
        (["no_such.onnx"], "there is no file no_such.onnx"),
        (["--plot", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["--plot", ROOT / "docs/performance/authors.csv"], "no row with task, mode, images_per_s"),
        (["iresnet5O", "--plot", ROOT / "docs/performance/training.csv"], "no 'iresnet5O'"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        call("speed", *arguments, "--out", tmp_path)


@pytest.mark.parametrize(
    "arguments", [[], ["--rounds", 1, "iresnet18"], ["x.onnx", "--modes", "eager"]]
)
def test_nothing_to_measure(arguments, capsys):
    assert call("speed", *arguments) == 2
    assert "mmres speed: error:" in capsys.readouterr().err


def test_networks_of_any_kind(tmp_path):
    """A whole classifier, or the maps of another model's backbone."""
    config = tmp_path / "mine.py"
    config.write_text(
        "default_scope = 'mmpretrain'\nmodel = dict(backbone=dict(type='MobileNetV2'))\n"
    )
    with torch.no_grad():
        assert build_network(str(config))(torch.rand(1, 3, 64, 64))[-1].shape == (1, 1280, 2, 2)
        assert build_network("iresnet18")(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
