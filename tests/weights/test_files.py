"""Opening, checking, converting and writing files: nothing foreign is run, nothing is half done."""

import argparse
import contextlib
import functools
import http.server
import runpy
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, complete
from helpers.weights import caffe_resnet50, hostile_files, maskrcnn_benchmark, resnet50
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpretrain import get_model
from safetensors.torch import save_file

import mmres_plugin
from mmres_plugin.errors import UserError
from mmres_plugin.models import SReResNet
from mmres_plugin.weights import convert_checkpoint, publish_checkpoint, read_checkpoint
from mmres_plugin.weights.files import find_state_dict, sha256, write_checkpoint

CONVERT = ROOT / "tools/model_converters/convert_checkpoint.py"


def start_from(path, **kwargs) -> SReResNet:
    init_cfg = dict(type="Pretrained", checkpoint=str(path), **kwargs)
    backbone = SReResNet(50, init_cfg=init_cfg)
    backbone.init_weights()
    return backbone


def convert(*args) -> subprocess.CompletedProcess:
    return complete(CONVERT, *args, cwd=ROOT)


def test_command_line(tmp_path):
    src, dst = tmp_path / "theirs.pth", tmp_path / "new/ours.pth"
    torch.save(maskrcnn_benchmark(), src)
    done = convert(src, dst, "--model", "sreresnet50_8xb32_in1k")
    assert done.returncode == 0, done.stderr
    for line in (
        "unbelieboomboom/SReResNet (maskrcnn-benchmark)",
        "matched 0\n",
        "renamed 265\n",
        "module.backbone.body.stem.conv1.weight -> backbone.conv1.weight",
        "dropped 2\n",
        "module.rpn.head.cls_logits.bias",
        "no classifier",
        "fits sreresnet50_8xb32_in1k",
        "style='caffe'",
    ):
        assert line in done.stdout
    meta = torch.load(dst, weights_only=True)["meta"]
    assert meta["source_file"] == "theirs.pth"
    assert meta["source_sha256"] == sha256(src)
    assert meta["model"] == "sreresnet50_8xb32_in1k"
    assert meta["mmres_plugin_version"] == mmres_plugin.__version__


def test_command_line_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "no.pth"), str(tmp_path / "dst.pth")])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(CONVERT), run_name="__main__")
    assert stopped.value.code == f"error: there is no checkpoint file {tmp_path}/no.pth"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_converted_file_is_a_checkpoint_of_mmpretrain(tmp_path, suffix):
    src, dst = tmp_path / "resnet50.safetensors", tmp_path / f"ours{suffix}"
    theirs = resnet50()
    save_file(theirs, src)
    convert_checkpoint(src, dst, model="sreresnet50_8xb32_in1k")
    model = get_model("sreresnet50_8xb32_in1k", pretrained=str(dst))
    assert torch.equal(model.head.fc.weight, theirs["fc.weight"])
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    assert read_checkpoint(dst)["meta"]["source_sha256"] == sha256(src)


def test_code_is_never_run(tmp_path):
    mark = tmp_path / "mark"
    for path in hostile_files(tmp_path, mark):
        for use in (
            lambda path: convert_checkpoint(path, tmp_path / "dst.pth"),
            lambda path: publish_checkpoint(path, tmp_path / "dst.pth"),
            start_from,
        ):
            with pytest.raises(ValueError, match=r"refused: reading it would run code \(posix.mkd"):
                use(path)
            assert not mark.exists()
            assert not list(tmp_path.glob("*dst*"))
        with contextlib.suppress(RuntimeError):  # the file is what it claims to be
            torch.load(path, weights_only=False)
        mark.rmdir()


def test_loaders_of_mmengine_run_nothing(tmp_path, monkeypatch):
    """Those of ``get_model``, ``load_from`` and others' code, unless the user says otherwise."""
    mark = tmp_path / "mark"
    path = str(hostile_files(tmp_path, mark)[0])
    for use in (
        lambda: get_model("sreresnet18_8xb32_in1k", pretrained=path),
        lambda: load_checkpoint(SReResNet(18), path),
    ):
        with pytest.raises(ValueError, match=r"refused: reading it would run code \(posix.mkdir"):
            use()
        assert not mark.exists()
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # torch's switch, for own files
    with contextlib.suppress(Exception):
        load_checkpoint(SReResNet(18), path)
    assert mark.exists()


def test_types_that_the_user_trusts_are_read(tmp_path):
    path = tmp_path / "own.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match=r"refused: .*argparse.Namespace"):
        CheckpointLoader.load_checkpoint(str(path))
    with torch.serialization.safe_globals([argparse.Namespace]):
        assert CheckpointLoader.load_checkpoint(str(path))["args"].lr == 1


def test_changed_tensors_are_noticed(tmp_path):
    """25 files, each with one byte changed within a tensor, which torch alone would read."""
    torch.save({"state_dict": {"a": torch.zeros(100_000)}}, tmp_path / "good.pth")
    content = (tmp_path / "good.pth").read_bytes()
    start = content.index(bytes(1000))
    src, dst = tmp_path / "src.pth", tmp_path / "dst.pth"
    for place in range(start, start + 400_000, 16_000):
        src.write_bytes(content[:place] + b"\x40" + content[place + 1 :])
        assert torch.load(src)["state_dict"]["a"].any()
        for use in (convert_checkpoint, publish_checkpoint):
            with pytest.raises(ValueError, match=r"is damaged .*wrong checksum of .*/data/0"):
                use(src, dst)
        with pytest.raises(ValueError, match="wrong checksum"):
            load_checkpoint(SReResNet(18), str(src))
    assert not dst.exists()


def test_checkpoint_whose_meta_data_are_odd(tmp_path):
    """What it holds is not what a training writes, but the weights can be published."""
    torch.save({"state_dict": {"a": torch.ones(1), 3: torch.ones(1)}, "meta": [1]}, tmp_path / "a")
    path = publish_checkpoint(tmp_path / "a", tmp_path / "b.pth")
    assert read_checkpoint(path)["state_dict"].keys() == {"a", "3"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server on a folder, and the folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_downloads_are_not_run_either(site, tmp_path):
    address, folder = site
    mark = tmp_path / "mark"
    hostile_files(folder, mark)
    with pytest.raises(ValueError, match=r"zip.pth was refused: reading it would run code"):
        start_from(f"{address}/zip.pth")
    assert not mark.exists()
    torch.save(resnet50(), folder / "good.pth")
    start_from(f"{address}/good.pth")
    with pytest.raises(ValueError, match=r"could not be fetched .*404"):
        start_from(f"{address}/none.pth")
    with pytest.raises(ValueError, match=r"could not be fetched .*no such name or no connection"):
        start_from("torchvision://resnet51")


def test_folded_models_are_refused_at_any_address(site):
    address, folder = site
    content = {"meta": {"mmres_plugin_folded": {}}, "state_dict": resnet50()}
    torch.save(content, folder / "folded.pth")
    for place in (address, folder):
        with pytest.raises(ValueError, match=r"folded.pth holds a folded model"):
            start_from(f"{place}/folded.pth")


@pytest.mark.parametrize("name", ["htp://x/y.pth", "modelzo://resnet50", "file:///tmp/y.pth"])
def test_unknown_address(name):
    message = f"{name}: no address starts with {name.partition(':')[0]}://"
    for function in (read_checkpoint, start_from, CheckpointLoader.load_checkpoint):
        with pytest.raises(ValueError, match=message):
            function(name)


def test_a_config_in_a_checkpoint_does_not_reach_mmengine(tmp_path):
    """Its Runner would run the text when it resumes."""
    torch.save({"meta": {"config": "text", "epoch": 1}, "state_dict": {}}, tmp_path / "a.pth")
    assert CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"))["meta"] == {"epoch": 1}


def with_old_names(source: Path, path: Path) -> None:
    """Write the checkpoint as NumPy 1 would have: it named the modules of its arrays otherwise."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            assert b"numpy._core" in content or not name.endswith("data.pkl")
            new.writestr(name, content.replace(b"numpy._core", b"numpy.core"))


def test_checkpoints_of_a_run(site, tmp_path):
    """They hold MMEngine's logs, in the arrays of the NumPy of their day; local and fetched."""
    address, folder = site
    logs = {"loss": HistoryBuffer([1.0, 0.5], [1, 1])}
    hub = {"log_scalars": logs, "last": np.float64(3)}
    content = {"state_dict": resnet50(), "message_hub": hub}
    torch.save(content, folder / "new.pth")
    with_old_names(folder / "new.pth", folder / "old.pth")
    for name in ("new.pth", "old.pth"):
        for place in (folder / name, f"{address}/{name}"):
            found = read_checkpoint(place)["message_hub"]
            assert found["last"] == 3
            assert found["log_scalars"]["loss"].data[0].tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match="download it first"):
        read_checkpoint(f"{address}/new.safetensors")


def bad_files() -> dict[str, tuple]:
    """How to write a bad file, and what is said of it."""

    def cut(**kwargs):
        def write(path):
            torch.save(resnet50(), path, **kwargs)
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])

        return write

    def save(content):
        return lambda path: torch.save(content, path)

    def save_text(text):
        return lambda path: path.write_text(text)

    def script(path):
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path)

    broken = "is not a checkpoint, or is damaged or not complete"
    nan = {**resnet50(), "bn1.weight": torch.full((64,), torch.nan)}
    return {
        "cut short": (cut(), broken),
        "cut short, old format": (cut(_use_new_zipfile_serialization=False), broken),
        "empty": (save_text(""), "src.pth is empty"),
        "text": (save_text("not found"), broken),
        "web page": (save_text("\n<!DOCTYPE html><html>"), "is a web page saved under the name"),
        "git lfs": (save_text("version https://git-lfs.github.com/spec/v1\n"), "is a pointer of"),
        "cut safetensors": (save_text("\x20\0\0\0\0\0\0\0{"), broken),
        "whole model": (save(torch.nn.Linear(1, 1)), r"refused: .*torch.nn.modules.linear.Linear"),
        "program": (script, "is a TorchScript program"),
        "no tensors": (
            save({"state_dict": {"a": 1}, "epoch": 2}),
            "no tensors .*, but the keys a$",
        ),
        "a list": (save([1, 2]), "no tensors where a checkpoint has them, but a list"),
        "NaN": (save(nan), r"NaN or infinite weights in 1 of 320 tensors \(bn1.weight\)"),
    }


@pytest.mark.filterwarnings("ignore")  # torch's own, of TorchScript and pickles
@pytest.mark.parametrize("kind", bad_files())
def test_bad_file(tmp_path, kind):
    src, dst = tmp_path / "src.pth", tmp_path / "dst.pth"
    write, message = bad_files()[kind]
    write(src)
    dst.write_bytes(b"before")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(src, dst)
    with pytest.raises(ValueError, match=message):
        publish_checkpoint(src, dst)
    assert sorted(tmp_path.iterdir()) == [dst, src]
    assert dst.read_bytes() == b"before"


def changed(**tensors) -> dict:
    """torchvision's ResNet-50 with other tensors; None takes one out."""
    content = {**resnet50(), **{name.replace("__", "."): t for name, t in tensors.items()}}
    return {name: tensor for name, tensor in content.items() if tensor is not None}


@pytest.mark.parametrize(
    ("content", "model", "message"),
    [
        (resnet50, "sreresnet101_8xb32_in1k", "another depth or width and fit sreresnet50_8xb32"),
        (resnet50, "iresnet50_8xb32_in1k", "another family and fit .*resnet50_8xb32_in1k"),
        (
            functools.partial(changed, fc__bias=None),
            "sreresnet50_8xb32_in1k",
            "No model that is shipped fits.\n  1 only in the model: head.fc.bias",
        ),
        (
            functools.partial(changed, layer1__0__extra__weight=torch.ones(1)),
            "sreresnet50_8xb32_in1k",
            "1 only in the file: backbone.layer1.0.extra.weight",
        ),
        (
            functools.partial(changed, fc__weight=torch.ones(10, 2048), fc__bias=torch.ones(10)),
            "sreresnet50_8xb32_in1k",
            r"2 of another shape: head.fc.weight \(file \(10, 2048\), model \(1000, 2048\)\)",
        ),
        (resnet50, "sreresnet51", 'Failed to find model "sreresnet51"'),
        (resnet50, "in1k", 'Failed to find model "in1k"'),
    ],
    ids=["depth", "family", "missing", "extra", "shape", "no model", "base config"],
)
def test_does_not_fit(tmp_path, content, model, message):
    torch.save(content(), tmp_path / "src.pth")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / "src.pth", tmp_path / "dst.pth", model=model)
    assert not (tmp_path / "dst.pth").exists()


def test_fits_a_config_of_ones_own(tmp_path):
    """A detector's config: its backbone is compared, and the file may lack counters."""
    torch.save(caffe_resnet50(), tmp_path / "src.pth")
    torch.save(resnet50(), tmp_path / "classifier.pth")  # with a head that detectors have not
    config = ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py"
    for name in ("src.pth", "classifier.pth"):
        convert_checkpoint(tmp_path / name, tmp_path / "dst.pth", model=str(config))
    with pytest.raises(UserError, match="no_such"):
        convert_checkpoint(tmp_path / "src.pth", tmp_path / "2.pth", model="no_such.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(", "cannot be read"),
        ("neck = 1", "has no 'model'"),
        ("model = dict(type='mmres_plugin.IResNet', depth=19)", "cannot be built: depth must be"),
        ("model = dict(type='mmres_plugin.IResNet', depth=18)", "the weights do not fit"),
    ],
)
def test_broken_config(tmp_path, text, message):
    torch.save(resnet50(), tmp_path / "src.pth")
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(
            tmp_path / "src.pth", tmp_path / "dst.pth", model=str(tmp_path / "broken.py")
        )


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(resnet50(), tmp_path / "src.pth")
    monkeypatch.chdir(tmp_path)
    convert_checkpoint("~/src.pth", "~/dst.pth")
    path = publish_checkpoint("~/dst.pth", "~/out.pth")
    assert {path, tmp_path / "dst.pth"} <= set(tmp_path.iterdir())
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("name", ["dst.pt", "dst", "dst.pth.tar"])
def test_unknown_ending(tmp_path, name):
    torch.save(resnet50(), tmp_path / "src.pth")
    with pytest.raises(ValueError, match=r"must end with \.pth or \.safetensors"):
        convert_checkpoint(tmp_path / "src.pth", tmp_path / name)


def test_killed_while_writing(tmp_path):
    """The file of that name is the old one until the new one is whole."""
    dst = tmp_path / "dst.pth"
    write_checkpoint({"meta": {}, "state_dict": {"a": torch.ones(3)}}, dst)
    code = (
        "import sys, torch\n"
        "from mmres_plugin.weights.files import write_checkpoint\n"
        "tensors = {str(i): torch.zeros(2**20) for i in range(256)}\n"
        "write_checkpoint({'meta': {}, 'state_dict': tensors}, sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(dst)], cwd=ROOT)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 2**20 for path in tmp_path.glob(".dst*")):
        assert process.poll() is None, "written before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.equal(read_checkpoint(dst)["state_dict"]["a"], torch.ones(3))


def test_tensors_that_share_memory(tmp_path):
    """As in heads whose levels share a convolution; safetensors refuses them."""
    shared = torch.arange(4.0)
    checkpoint = {"meta": {}, "state_dict": {"a": shared, "b": shared, "c": shared[1:]}}
    write_checkpoint(checkpoint, tmp_path / "a.safetensors")
    written = read_checkpoint(tmp_path / "a.safetensors")["state_dict"]
    for name, tensor in checkpoint["state_dict"].items():
        assert torch.equal(written[name], tensor)


def test_failed_writing_leaves_nothing(tmp_path):
    with pytest.raises(AttributeError):
        write_checkpoint({"meta": lambda: 0, "state_dict": {}}, tmp_path / "dst.pth")
    assert not list(tmp_path.iterdir())


def test_mmengine_reads_what_we_write(tmp_path):
    checkpoint = {"meta": {"epoch": 3}, "state_dict": SReResNet(18).state_dict()}
    for name in ("a.pth", "a.safetensors"):
        path = str(tmp_path / name)
        write_checkpoint(checkpoint, path)
        assert load_checkpoint(SReResNet(18), path, strict=True)["meta"] == {"epoch": 3}


def test_state_dict_is_found_where_projects_put_it():
    tensors = {"conv1.weight": torch.ones(1)}
    for checkpoint in (tensors, {"state_dict": tensors}, {"model": tensors}):
        assert find_state_dict(checkpoint, "a.pth") == tensors
