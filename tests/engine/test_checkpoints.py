"""Checkpoints are whole and safe from their successors; the newest that is whole is found."""

import errno
import inspect
import os
import resource
import shutil
import time
from pathlib import Path

import pytest
import torch
from helpers.toy import toy_runner, validation
from mmengine.hooks import CheckpointHook, Hook

from mmres_plugin.engine import resume, storage
from mmres_plugin.engine.checkpoints import checkpoint_size
from mmres_plugin.engine.resume import latest_checkpoint
from mmres_plugin.engine.storage import REMEDIES, room_problem, storage_errors
from mmres_plugin.errors import UserError
from mmres_plugin.weights import read_checkpoint

THREE_EPOCHS = dict(by_epoch=True, max_epochs=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The work dir of a training of two epochs."""
    work_dir = tmp_path_factory.mktemp("trained")
    toy_runner(work_dir).train()
    return work_dir


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    """A copy of it, with the times of its files."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the search for a checkpoint logs."""
    lines = []
    monkeypatch.setattr(resume, "print_log", lambda text, **kwargs: lines.append(text))
    return lines


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".py" and p.is_file())


# Writing


def test_order_of_saving(tmp_path, monkeypatch):
    """Save, name, delete: at any moment there is a whole checkpoint, and a name for one."""
    events = []

    def record(name, place):
        original = getattr(os, name)

        def function(*args):
            events.append(f"{name} {Path(args[place]).name}")
            original(*args)

        monkeypatch.setattr(os, name, function)

    record("replace", 1)
    record("remove", 0)
    toy_runner(
        tmp_path,
        checkpoint=dict(max_keep_ckpts=1, save_best="score", rule="greater"),
        **validation(),
    ).train()
    assert [event for event in events if event.endswith((".pth", " last_checkpoint"))] == [
        "replace epoch_1.pth",
        "replace last_checkpoint",
        "replace best_score_epoch_1.pth",
        "replace epoch_1.pth",
        "replace last_checkpoint",
        "replace epoch_2.pth",
        "replace last_checkpoint",
        "remove epoch_1.pth",
        "replace best_score_epoch_2.pth",
        "replace epoch_2.pth",
        "replace last_checkpoint",
        "remove best_score_epoch_1.pth",
    ]
    assert names(tmp_path) == ["best_score_epoch_2.pth", "epoch_2.pth", "last_checkpoint"]
    best = read_checkpoint(tmp_path / "best_score_epoch_2.pth")
    assert not {"random_states", "optimizer"} & best.keys()


@pytest.mark.parametrize("name", ["replace", "remove"], ids=["before naming", "before deleting"])
def test_old_checkpoint_goes_after_a_kill(tmp_path, monkeypatch, name):
    """The training ends between saving the second epoch and deleting the first, and goes on."""
    original = getattr(os, name)

    def stop(*args):
        if name == "remove" or (tmp_path / "epoch_2.pth").exists():
            raise KeyboardInterrupt
        original(*args)

    monkeypatch.setattr(os, name, stop)
    keep = dict(max_keep_ckpts=1)
    with pytest.raises(KeyboardInterrupt):
        toy_runner(tmp_path, checkpoint=keep).train()
    monkeypatch.undo()
    assert len(list(tmp_path.glob("epoch_*.pth"))) == 2
    latest = latest_checkpoint(tmp_path)
    assert latest == tmp_path / "epoch_2.pth"
    options = dict(resume=True, load_from=str(latest), train_cfg=THREE_EPOCHS)
    toy_runner(tmp_path, checkpoint=keep, **options).train()
    assert [path.name for path in tmp_path.glob("epoch_*.pth")] == ["epoch_3.pth"]


def test_upstream_still_works_as_the_hook_expects():
    source = inspect.getsource(CheckpointHook)
    assert "self._save_checkpoint_with_step(runner, step, meta=meta)" in source
    assert "osp.join(runner.work_dir, 'last_checkpoint')" in source
    assert source.count("self.file_backend.remove(") == 3


def test_file_size_limit(trained, copy):
    """A real limit of the system: the error is one sentence, and nothing that was there is gone."""
    runner = toy_runner(copy, resume=True, train_cfg=THREE_EPOCHS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (copy / "epoch_2.pth").stat().st_size - 1  # the log is smaller
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(UserError, match="ulimit -f") as error:
            runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{copy}/epoch_3.pth (0 MB) cannot be written: File too large" in str(error.value)
    assert names(copy) == names(trained)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"


@pytest.mark.parametrize("number", REMEDIES)
def test_each_kind_of_storage_error_is_explained(tmp_path, number):
    words = f"{tmp_path} cannot be written: {os.strerror(number)}"
    with pytest.raises(UserError, match=words), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_errors_of_other_places_pass(tmp_path):
    for error in (OSError(errno.EIO, "x"), PermissionError(errno.EACCES, "x", "/data/a.json")):
        with pytest.raises(OSError, match="x"), storage_errors(tmp_path):
            raise error


def test_room_for_two_checkpoints(tmp_path, monkeypatch):
    """The estimate counts the model and the momentum; a full disk is a warning at the start."""
    runner = toy_runner(tmp_path)
    runner.model.layers[2] = torch.nn.Linear(4, 500_000)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    assert checkpoint_size(runner) == pytest.approx(2 * 4 * 2_500_000, rel=0.01)
    free = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: free)
    assert room_problem(tmp_path, 9_000_000) is None
    assert "has 10 MB left" in room_problem(tmp_path, 20_000_000)


def test_weights_that_are_not_finite_are_not_saved(copy):
    class Break(Hook):
        def after_train_iter(self, runner, *args, **kwargs) -> None:
            runner.model.layers[2].bias.data[:] = float("nan")

    runner = toy_runner(
        copy, Break(), resume=True, train_cfg=THREE_EPOCHS, checkpoint=dict(max_keep_ckpts=1)
    )
    with pytest.raises(UserError, match=r"of 7 tensors are not finite.*layers.2.bias"):
        runner.train()
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"


def test_best_checkpoint_of_a_copied_work_dir_is_the_copy(copy):
    """Else the training in the copy would delete the best checkpoint of the original."""
    runner = toy_runner(copy, checkpoint=dict(save_best="score", rule="greater"))
    runner.message_hub.update_info("best_ckpt", "/elsewhere/best_score_epoch_1.pth")
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert hook.best_ckpt_path == f"{copy}/best_score_epoch_1.pth"


def test_leftovers_of_a_kill_go(copy):
    (copy / ".epoch_3.pth.7.tmp").write_bytes(b"half")
    (copy / ".saving-x.tmp").mkdir()
    toy_runner(copy).train()
    assert not list(copy.glob(".*"))


# Reading


def test_first_start_says_so(tmp_path, said):
    for folder in (tmp_path, tmp_path / "none"):
        assert latest_checkpoint(folder) is None
    assert "has no checkpoint yet, so training starts from the beginning" in said[0]


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff\xfe\x00", b"\x00", b"/old/place/epoch_2.pth", b"x" * 9999, b"epoch_9.pth"],
    ids=["lost", "empty", "binary", "NUL", "moved", "long", "gone"],
)
def test_pointer_is_only_a_hint(copy, content):
    (copy / "last_checkpoint").unlink()
    if content is not None:
        (copy / "last_checkpoint").write_bytes(content)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"


def test_copy_goes_on_from_itself(copy, trained):
    assert str(trained) in (copy / "last_checkpoint").read_text()
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"


def test_pointer_is_behind(copy):
    """A kill came after the second epoch was saved and before it was named; or it is older."""
    (copy / "last_checkpoint").write_text("epoch_1.pth")
    os.utime(copy / "epoch_2.pth", (time.time() + 1,) * 2)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"
    os.utime(copy / "epoch_2.pth", (time.time() - 100,) * 2)
    assert latest_checkpoint(copy) == copy / "epoch_1.pth"


def test_damaged_ones_are_passed_over(copy, said):
    newest = copy / "epoch_2.pth"
    newest.write_bytes(newest.read_bytes()[:-500])
    assert latest_checkpoint(copy) == copy / "epoch_1.pth"
    assert f"passed over, {newest} is not a checkpoint, or is damaged" in said[0]
    assert said[1] == f"--resume: continuing from {copy}/epoch_1.pth"


def test_nothing_whole_is_never_written_over(copy):
    torch.save({"state_dict": {"a": torch.ones(1)}}, copy / "epoch_1.pth")
    (copy / "epoch_2.pth").write_bytes(b"")
    with pytest.raises(UserError) as error:
        latest_checkpoint(copy)
    assert "epoch_2.pth is empty" in str(error.value)
    assert "epoch_1.pth holds weights but not the state of a training" in str(error.value)
    assert "choose another --work-dir" in str(error.value)
