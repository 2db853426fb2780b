"""Opening, checking and writing files: nothing foreign is run, nothing is half done."""

import argparse
import contextlib
import functools
import http.server
import os
import pickle
import resource
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import call
from helpers.weights import SMALL, hostile_files, small_resnet50
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpretrain import get_model
from safetensors.torch import save_file

from mmres_plugin.errors import UserError
from mmres_plugin.models import SReResNet
from mmres_plugin.weights import convert_checkpoint, publish_checkpoint, read_checkpoint
from mmres_plugin.weights.files import atomic_write, find_state_dict, write_checkpoint
from mmres_plugin.weights.safe_loading import load_safely


def start_from(path, **kwargs) -> SReResNet:
    init_cfg = dict(type="Pretrained", checkpoint=str(path), **kwargs)
    backbone = SReResNet(50, **SMALL, init_cfg=init_cfg)
    backbone.init_weights()
    return backbone


def test_code_is_never_run(tmp_path, monkeypatch):
    """By our own reader, whatever the environment says."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
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


def test_what_holds_in_commands_and_what_outside(tmp_path):
    """MMEngine's own loader is as it is until a command, or the user, makes it safe."""
    mark = tmp_path / "mark"
    path, own = str(hostile_files(tmp_path, mark)[0]), str(tmp_path / "own.pth")
    log = {"log": HistoryBuffer([1.0], [1])}
    torch.save({"state_dict": {"a": torch.ones(1)}, "message_hub": log}, own)
    CheckpointLoader.load_checkpoint(path)  # MMEngine falls back
    mark.rmdir()
    load_safely()
    read_checkpoint(own)  # after which torch still allows what is in it
    found = CheckpointLoader.load_checkpoint(own)["message_hub"]["log"]
    assert found.data[0].tolist() == [1.0]
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.mkdir"):
        CheckpointLoader.load_checkpoint(path)
    assert not mark.exists()


def test_types_that_the_user_trusts_are_read(tmp_path):
    path = tmp_path / "own.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match=r"refused: .*argparse.Namespace"):
        read_checkpoint(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        assert read_checkpoint(path)["args"].lr == 1


def test_changed_tensors_are_noticed(tmp_path):
    """25 files of each kind with one byte changed within a tensor, which torch alone would read."""
    good = {"meta": {}, "state_dict": {"a": torch.zeros(100_000)}}
    for suffix in (".pth", ".safetensors"):
        src, dst = tmp_path / f"src{suffix}", tmp_path / "dst.pth"
        write_checkpoint(good, src)
        content = src.read_bytes()
        start = content.index(bytes(1000))
        for place in range(start, start + 400_000 - 1000, 16_000):
            src.write_bytes(content[:place] + b"\x40" + content[place + 1 :])
            with pytest.raises(ValueError, match=r"is damaged .*wrong checksum of"):
                publish_checkpoint(src, dst)
    assert not dst.exists()


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


def test_downloads_are_not_run_either(site, tmp_path, monkeypatch):
    """Our reader is safe, and leaves the user's setting as it was."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    address, folder = site
    mark = tmp_path / "mark"
    hostile_files(folder, mark)
    with pytest.raises(ValueError, match=r"zip.pth was refused: reading it would run code"):
        start_from(f"{address}/zip.pth")
    assert not mark.exists()
    torch.save(small_resnet50(), folder / "good.pth")
    start_from(f"{address}/good.pth")
    with pytest.raises(ValueError, match=r"could not be fetched .*404"):
        start_from(f"{address}/none.pth")
    with pytest.raises(ValueError, match=r"could not be fetched .*no such name or no connection"):
        start_from("torchvision://resnet51")
    with pytest.raises(ValueError, match="download it first"):
        read_checkpoint(f"{address}/new.safetensors")
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("name", ["htp://x/y.pth", "modelzo://resnet50", "file:///tmp/y.pth"])
def test_unknown_address(name):
    message = f"{name}: no address starts with {name.partition(':')[0]}://"
    for function in (read_checkpoint, start_from):
        with pytest.raises(ValueError, match=message):
            function(name)


def test_addresses_of_the_users_own(tmp_path):
    tensors = {"state_dict": {"a": torch.ones(1)}}
    CheckpointLoader.register_scheme("lab://", lambda name, map_location=None: tensors, force=True)
    assert read_checkpoint("lab://a") is tensors


def with_old_names(source: Path, path: Path) -> None:
    """Write the checkpoint as NumPy 1 would have: it named the modules of its arrays otherwise."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            assert b"numpy._core" in content or not name.endswith("data.pkl")
            new.writestr(name, content.replace(b"numpy._core", b"numpy.core"))


def test_checkpoints_of_a_run(site):
    """They hold MMEngine's logs, in the arrays of the NumPy of their day; local and fetched."""
    address, folder = site
    logs = {"loss": HistoryBuffer([1.0, 0.5], [1, 1])}
    hub = {"log_scalars": logs, "last": np.float64(3)}
    torch.save({"state_dict": small_resnet50(), "message_hub": hub}, folder / "new.pth")
    with_old_names(folder / "new.pth", folder / "old.pth")
    for name in ("new.pth", "old.pth"):
        for place in (folder / name, f"{address}/{name}"):
            found = read_checkpoint(place)["message_hub"]
            assert found["last"] == 3
            assert found["log_scalars"]["loss"].data[0].tolist() == [1.0, 0.5]


def cut(**kwargs):
    def write(path):
        torch.save(small_resnet50(), path, **kwargs)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return write


def save(**content):
    return lambda path: torch.save(content, path)


def text(content):
    return lambda path: path.write_text(content)


def program(path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path)


def bomb(path):
    """A ZIP that expands to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data/0", bytes(30_000_000))


def pickled(path):
    """As Detectron2's files: arrays in a pickle of Python's own."""
    path.write_bytes(b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01}q\x02s.")


BROKEN = "is not a checkpoint, or is damaged or not complete"
ODD = "has what no network can load .*: 1 of 1 tensors"
BAD = {
    "cut short": (cut(), BROKEN),
    "cut short, old format": (cut(_use_new_zipfile_serialization=False), BROKEN),
    "empty": (text(""), "src.pth is empty"),
    "text": (text("not found"), BROKEN),
    "web page": (text("\n<!DOCTYPE html><html>"), "is a web page saved under the name"),
    "git lfs": (text("version https://git-lfs.github.com/spec/v1\n"), "is a pointer of"),
    "cut safetensors": (text("\x20\0\0\0\0\0\0\0{"), BROKEN),
    "whole model": (save(w=torch.nn.Linear(1, 1)), r"refused: .*torch.nn.modules.linear.Linear"),
    "program": (program, "is a TorchScript program"),
    "bomb": (bomb, "its parts are compressed, which torch never does"),
    "plain pickle": (pickled, "is a plain pickle, as Detectron and .*npz"),
    "a list": (lambda path: torch.save([1, 2], path), "no tensors .*, but a list"),
    "no tensors": (save(state_dict={"a": 1}, epoch=2), "no tensors .*, but the keys a$"),
    "no names": (save(state_dict={3: torch.ones(1)}), "has keys that are no names: .*3"),
    "folded": (
        save(meta={"mmres_plugin_folded": {}}, w=torch.ones(1)),
        "holds a folded model",
    ),
    "NaN": (save(w=torch.tensor(torch.nan), b=torch.ones(1)), "infinite weights in 1 of 2 tensors"),
    "variance": (save(**{"bn.running_var": -torch.ones(1)}), r"negative variances in 1 of 1"),
    "expanded": (save(w=torch.zeros(1).expand(10**12)), "claims to hold far more numbers than"),
    "expanded often": (
        save(**{f"w{i}": torch.zeros(1).expand(10**8) for i in range(10)}),
        "claims to hold far more numbers than it does: 10 of 10",
    ),
    "Caffe2": (
        save(conv1_w=torch.ones(1), res2_0_branch2a_w=torch.ones(1)),
        "has blobs of Caffe2, .* load by name: open-mmlab://detectron2/resnet50_caffe",
    ),
    "integers": (save(**{"a.weight": torch.ones(2, dtype=torch.int8)}), "has integers in place of"),
    "quantized": (save(w=torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)), ODD),
    "float8": (save(w=torch.ones(2).to(torch.float8_e4m3fn)), ODD),
    "complex": (save(w=torch.ones(2, dtype=torch.complex64)), ODD),
    "sparse": (save(w=torch.eye(2).to_sparse()), ODD),
    "nested": (save(w=torch.nested.nested_tensor([torch.ones(2)])), ODD),
    "no content": (save(w=torch.ones(2, device="meta")), ODD),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of TorchScript, pickles and nested tensors
@pytest.mark.parametrize("kind", BAD)
def test_bad_file(tmp_path, kind):
    """A sentence from whatever opens it, no memory for what it claims, and no output."""
    src, dst = tmp_path / "src.pth", tmp_path / "dst.pth"
    write, message = BAD[kind]
    write(src)
    dst.write_bytes(b"before")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command in ("convert", "publish"):
        with pytest.raises(UserError, match=message):
            call(command, src, dst)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    assert sorted(tmp_path.iterdir()) == [dst, src]
    assert dst.read_bytes() == b"before"


def test_views_that_repeat_little_are_read(tmp_path):
    """As buffers that a model has expanded, and variances that lack a norm's epsilon."""
    tensors = {"a": torch.ones(3, 1).expand(3, 100), "bn.running_var": torch.tensor([-0.9e-5])}
    torch.save(tensors, tmp_path / "a.pth")
    assert find_state_dict(read_checkpoint(tmp_path / "a.pth"), "a.pth").keys() == tensors.keys()


def test_arrays_of_numpy(tmp_path):
    """The safe way from Detectron2's pickles."""
    array = np.arange(6, dtype=">f4").reshape(2, 3)  # the byte order of other machines
    for save_npz in (np.savez, np.savez_compressed):
        save_npz(tmp_path / "a.npz", **{"conv1.weight": array})
        read = read_checkpoint(tmp_path / "a.npz")["state_dict"]["conv1.weight"]
        assert read.tolist() == array.tolist()
    np.savez(tmp_path / "b.npz", a=np.array([{}]))  # an object, which only code could read
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(tmp_path / "b.npz")


def test_state_dict_is_found_where_projects_put_it():
    tensors = {"conv1.weight": torch.ones(1)}
    for key in ("state_dict", "model", "model_state_dict", "net", "teacher", "model_ema"):
        assert find_state_dict({key: tensors, "epoch": 3}, "a.pth") == tensors
    assert find_state_dict(tensors, "a.pth") == tensors


def test_converted_file_is_a_checkpoint_of_mmpretrain(tmp_path):
    theirs = small_resnet50()
    save_file(theirs, tmp_path / "resnet50.safetensors")
    network = dict(backbone=SMALL, head=dict(in_channels=256))
    for dst in (tmp_path / "ours.pth", tmp_path / "ours.safetensors"):
        convert_checkpoint(tmp_path / "resnet50.safetensors", dst)
        model = get_model("sreresnet50_8xb32_in1k", pretrained=str(dst), **network)
        assert torch.equal(model.head.fc.weight, theirs["fc.weight"])
        for name, tensor in model.backbone.state_dict().items():
            assert torch.equal(tensor, theirs[name]), name
        backbone = torch.nn.ModuleDict({"backbone": model.backbone})
        assert load_checkpoint(backbone, str(dst))["meta"]["source_file"] == "resnet50.safetensors"
    # The library's own writer would keep others from reading its file.
    assert (tmp_path / "ours.pth").stat().st_mode == (tmp_path / "ours.safetensors").stat().st_mode


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(small_resnet50(), tmp_path / "src.pth")
    monkeypatch.chdir(tmp_path)
    convert_checkpoint("~/src.pth", "~/dst.pth")
    path = publish_checkpoint("~/dst.pth", "~/out.pth")
    assert {path, tmp_path / "dst.pth"} <= set(tmp_path.iterdir())
    assert not (tmp_path / "~").exists()


def test_what_is_not_written_to_its_end(tmp_path):
    """The file of that name is the old one until the new one is whole."""
    dst = tmp_path / "dst.pth"
    write_checkpoint({"meta": {}, "state_dict": {"a": torch.ones(3)}}, dst)
    with pytest.raises(AttributeError):
        write_checkpoint({"meta": lambda: 0, "state_dict": {}}, dst)
    with pytest.raises(ZeroDivisionError), atomic_write(dst) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert torch.equal(read_checkpoint(dst)["state_dict"]["a"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [dst]
    with pytest.raises(ValueError, match=r"must end with \.pth or \.safetensors"):
        convert_checkpoint(dst, "dst.pth.tar")


def test_tensors_that_share_memory(tmp_path):
    """As in heads whose levels share a convolution; safetensors refuses them."""
    shared = torch.arange(4.0)
    checkpoint = {"meta": {}, "state_dict": {"a": shared, "b": shared, "c": shared[1:]}}
    write_checkpoint(checkpoint, tmp_path / "a.safetensors")
    written = read_checkpoint(tmp_path / "a.safetensors")["state_dict"]
    for name, tensor in checkpoint["state_dict"].items():
        assert torch.equal(written[name], tensor)
