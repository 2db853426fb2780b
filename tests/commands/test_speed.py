"""The benchmark command, at its smallest."""

import csv
import platform
import struct
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision
from helpers import ROOT, complete
from torch import nn
from torch._dynamo.utils import counters

from mmres_plugin.errors import UserError

TOOL = ROOT / "tools/benchmarks/speed.py"


def measure(*args) -> subprocess.CompletedProcess:
    return complete(TOOL, "--quick", "--threads", "1", *args)


def read(path: Path) -> dict[tuple[str, str, str], dict]:
    with path.open() as file:
        return {(row["task"], row["network"], row["mode"]): row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_table_csv_and_plot(tmp_path):
    config = ROOT / "configs/digits/sreresnet18_digits.py"
    args = ("--networks", config, "timm-resnet50", "--modes", "eager", "folded", "--floor")
    keep = ["--keep-memory"] if platform.libc_ver()[0] == "glibc" else []
    done = measure(*args, *keep, "--task", "inference", "training", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "speed.csv")
    inference = [
        ("inference", "timm-resnet50", mode) for mode in ("eager", "folded", "convolutions")
    ]
    for case in [*inference, ("training", str(config), "eager")]:
        assert float(rows[case]["ms"]) > 0
    convolutions = rows["inference", "timm-resnet50", "convolutions"]
    assert float(convolutions["of_convolutions"]) == 1
    assert float(convolutions["ms"]) < float(rows["inference", "timm-resnet50", "eager"]["ms"])
    assert float(rows["inference", str(config), "eager"]["of_eager"]) == 1
    text = (tmp_path / "speed.md").read_text()
    assert "| inference | timm-resnet50 | folded |" in text
    assert ("memory kept" in text) == bool(keep)
    ms = float(rows["inference", "timm-resnet50", "eager"]["ms"])
    assert "| inference, ms | eager | folded | convolutions |" in text
    assert f"| timm-resnet50 | {ms:.0f} (1.00) |" in text
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_redrawing(tmp_path):
    """The picture of performance.md is drawn from the measurements that lie next to it."""
    files = [ROOT / f"docs/performance/{name}.csv" for name in ("inference", "training")]
    networks = ("iresnet50", "timm-seresnext50")
    done = measure("--plot", *files, "--networks", *networks, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    width, height = struct.unpack(">II", (tmp_path / "speed.png").read_bytes()[16:24])
    assert width < 800 and height < 600  # two panels next to each other, one line per task
    assert [path.name for path in tmp_path.iterdir()] == ["speed.png"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere.csv"], "--plot: there is no file nowhere.csv"),
        ([ROOT / "docs/performance/authors.csv"], "must have the columns task,network,mode,"),
        (
            [ROOT / "docs/performance/training.csv", "--networks", "iresnet5"],
            "the files have no 'iresnet5'",
        ),
    ],
    ids=["no file", "other columns", "no such network"],
)
def test_what_cannot_be_drawn_is_explained(args, message):
    done = measure("--plot", *args)
    assert done.returncode == 2
    assert message in done.stderr


def test_construction():
    """Our networks, by name or path, as a share of the peer's time."""
    config = ROOT / "configs/digits/sreresnet18_digits.py"
    tool = ROOT / "tools/benchmarks/construction.py"
    done = complete(tool, "--rounds", "1", "--networks", "sreresnet50", config)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()[-3:]]
    assert [row[0].strip("| ") for row in rows] == [
        *("mmpretrain-resnet50", "sreresnet50", str(config))
    ]
    shares = [float(row[2].strip("| ")) for row in rows]
    assert shares[0] == 1 and min(shares) > 0


def test_unknown_network(monkeypatch):
    from timing.networks import build

    with pytest.raises(UserError, match="Did you mean 'iresnet50'"):
        build("iresnet5O")


def test_networks_of_ones_own(monkeypatch, tmp_path):
    """Any backbone that returns feature maps, and any function of a file."""
    from timing.networks import build

    for settings in (
        "type='MobileNetV2'",
        "type='mmres_plugin.IResNet', depth=18, out_indices=(1,)",
    ):
        config = tmp_path / "mine.py"
        config.write_text(
            "default_scope = 'mmpretrain'\n"
            f"model = dict(type='ImageClassifier', backbone=dict({settings}))\n"
        )
        with torch.no_grad():
            assert build(str(config)).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    (tmp_path / "file.py").write_text("def network(): return 1\nnumber = 1\n")
    for name in ("netwrok", "number"):
        with pytest.raises(UserError, match=f"has no function '{name}'; it has network"):
            build(f"{tmp_path / 'file.py'}:{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no model with a backbone"),
        (
            "model = dict(type='mmpretrain.ImageClassifier',"
            " backbone=dict(type='mmpretrain.VisionTransformer', arch='deit-tiny'))",
            r"a tuple of N×C×H×W feature maps, but returns one whose last has shape \(1, 192\)",
        ),
    ],
    ids=["no model", "no maps"],
)
def test_config_that_cannot_be_measured(monkeypatch, tmp_path, text, message):
    from timing.networks import build

    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        build(str(tmp_path / "mine.py"))


def test_foreign_networks_are_folded_right_or_not_at_all(monkeypatch):
    """MMCV's folding pairs a norm with the convolution before it, whatever is in between."""
    from timing.modes import fold

    folded = fold(torchvision.models.resnet18())
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    with pytest.raises(UserError, match="changes the outputs of this Sequential"):
        fold(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)))


@pytest.mark.slow
def test_frozen_weights_are_packed(monkeypatch):
    """If freezing is switched on too late, nothing is packed and the network stays slow."""
    from timing.modes import compiled, frozen

    packed = []
    for mode in (compiled, frozen):  # in one process, where one could reuse the other's code
        counters.clear()
        network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
        mode(network, torch.rand(1, 3, 32, 32))
        packed.append(counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"])
    assert packed == [0, 2]


def test_memory_is_that_of_the_device(monkeypatch):
    """On a CPU, the GPU is not asked."""
    from timing.measure import peak_memory

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("asked the GPU"))
    peak = peak_memory(lambda: torch.ones(64, 2**18), torch.device("cpu"))
    assert peak is None or peak > 60


@pytest.mark.slow
def test_every_mode(tmp_path):
    done = measure("--networks", "edresnet50", "--task", "inference", "training", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    modes = {(task, mode) for task, _, mode in read(tmp_path / "speed.csv")}
    both = ("eager", "channels_last", "compiled")
    expected = {(task, mode) for task in ("training", "inference") for mode in both}
    expected |= {("inference", "folded"), ("inference", "frozen")}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        expected |= {("training", "bf16"), ("training", "compiled_bf16")}
        expected |= {("inference", "bf16"), ("inference", "frozen_bf16")}
    else:
        assert "left out: training, bf16 (this CPU has no instructions for bfloat16)" in done.stdout
    assert expected <= modes


@pytest.mark.slow
def test_network_of_a_file_compiles(tmp_path):
    """torch.compile looks up names in a network's module, so the file must be a module."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import torchvision\nfrom torch import nn\n\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = torchvision.models.resnet18()\n"
        "    def forward(self, x):\n"
        "        return nn.functional.relu(self.net(x))\n"
    )
    done = measure("--networks", f"{file}:Mine", "--modes", "eager", "compiled", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("inference", f"{file}:Mine", "compiled") in read(tmp_path / "speed.csv")


@pytest.mark.slow
def test_many_compiled_networks(tmp_path):
    """More networks of one class than Dynamo by default keeps compiled versions."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, layers):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(layers)])\n"
        "    def forward(self, x):\n"
        "        return self.net(x).mean((2, 3))\n"
        + "".join(f"def mine{i}(): return Mine({i})\n" for i in range(1, 10))
    )
    names = [f"{file}:mine{i}" for i in range(1, 10)]
    done = measure("--networks", *names, "--modes", "compiled", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "speed.csv")) == len(names)
