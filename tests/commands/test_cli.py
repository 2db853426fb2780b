"""The command ``mmres``: its overview, its mistakes, ``info``, and the real program."""

import re
import sys

import pytest
from helpers import ROOT, call, run
from helpers.configs import NARROW, classifier_config
from helpers.data import make_imagenet
from helpers.weights import hostile_files

from mmres_plugin import cli
from mmres_plugin.commands import info


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("home") / "imagenet")


def mmres(*args: object) -> int:
    """Run the command in this process; returns the exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(arg) for arg in args])
    return end.value.code or 0


def test_help_of_each_command_comes_without_torch():
    """So does the answer to a misspelt option; an import of torch takes seconds."""
    code = """
import sys
sys.argv[:] = ["mmres"]
from mmres_plugin import cli
for name in cli.COMMANDS:
    for option in ("--help", "--hlep"):
        try:
            cli.main([name, option])
        except SystemExit:
            pass
print({"torch", "numpy", "mmengine"} & {*sys.modules})
"""
    said = run(sys.executable, "-c", code)
    assert "\nset()\n" in said
    for name in cli.COMMANDS:
        assert f"usage: mmres {name} [-h]" in said


def test_overview(capsys):
    assert mmres() == mmres("--help") == 0
    said = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert re.search(rf"\n  {name} +{re.escape(what)}", said)
    assert mmres("--version") == 0
    assert capsys.readouterr().out == f"mmres_plugin {cli.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "there is no command 'trian'. Did you mean 'train'?"),
        ("fold x.py", "'mmres fold' is gone. Instead:"),
        ("train gone.py", "there is no config gone.py"),
        ("train x.py --workdir y", "Did you mean '--work-dir'?"),
        ("train x.py --cfg-options a=1 --amp b=2", "Settings follow --cfg-options"),
        ("info iresnet51", "no model matches 'iresnet51'"),
    ],
)
def test_mistakes(capsys, words, message):
    assert mmres(*words.split()) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "test cls.py FILE",
        "test cls.py FILE --no-checks",
        "train cls.py --cfg-options load_from=FILE",
        "train cls.py --no-checks --cfg-options load_from=FILE",
        "train cls.py --no-checks --resume FILE",
        "train upstream.py",
        "train upstream.py --no-checks",
        "predict IMAGE cls.py FILE --out-dir out",
        "export cls.py FILE out/model.onnx",
        "convert FILE out/weights.pth",
        "publish FILE out/weights.pth",
        "push cls.py FILE me/model --folder out",
        "compare cls.py --backbones SReResNet:depth=18 --weights FILE --out out",
        "maps layers cls.py FILE IMAGE --out out/maps.png",
    ],
)
def test_hostile_checkpoint(imagenet, capsys, monkeypatch, tmp_path, words):
    """No command runs what is in it, not even where MMEngine's own loader reads it."""
    monkeypatch.chdir(tmp_path)
    image = next(imagenet.glob("val/*/*"))
    file = hostile_files(tmp_path, tmp_path / "mark")[0]
    start = f"init_cfg=dict(type='Pretrained', checkpoint={str(file)!r})"
    backbone = f"model['backbone'] = dict(_delete_=True, type='ResNet', depth=18, {start})\n"
    classifier_config(tmp_path / "cls.py", imagenet, NARROW)
    classifier_config(tmp_path / "upstream.py", imagenet, backbone + NARROW)
    assert mmres(*words.replace("FILE", str(file)).replace("IMAGE", str(image)).split()) == 2
    assert "mkdir" in capsys.readouterr().err
    assert not (tmp_path / "mark").exists()
    assert not list(tmp_path.glob("out/*"))


def test_models_by_pattern(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/iresnet18_8xb32_in1k.pth").touch()
    assert call("info", "*resnet[15][80]_8xb32_in1k") == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: row[1:] for row in rows}
    assert head[0] == "model"
    own = "checkpoints/iresnet18_8xb32_in1k.pth"
    assert found["iresnet18_8xb32_in1k"][:3] == ["11.690", "1.814", own]
    assert found["iresnet50_8xb32_in1k"][2] == "–"
    assert found["seresnet50_8xb32_in1k"][2] == "published"  # by MMPretrain


def test_models_are_built_and_run(capsys):
    assert call("info", "*sreresnet18_8xb32*", "--check") == 0
    said = capsys.readouterr().out
    assert "ok 1×512" in said  # the classifier, behind its pooling
    assert said.splitlines()[-1] == "1 of 1 work"
    assert info.try_model(ROOT / "configs/gone.py").startswith("failed: ")


def test_report_of_the_environment(capsys):
    code = call("info")
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = {row[0]: row[1] for row in rows if len(row) == 2}
    assert said["mmres_plugin"].startswith(cli.__version__)
    assert {"Python", "CPU", "GPU", "torch", "mmengine", "mmpretrain", "mmdet", "numpy"} <= {*said}
    assert code == int(said["fit"] != "all packages fit together")


@pytest.mark.slow
def test_as_a_program(tmp_path):
    """The module and the console command, in processes of their own."""
    module = [sys.executable, "-m", "mmres_plugin"]
    said = run(*module, "predict", "gone.jpg", "x.py", code=2, cwd=tmp_path)
    assert "there is no file or folder gone.jpg" in said
    said = run(f"{sys.prefix}/bin/mmres", "--version", cwd=tmp_path)
    assert f"mmres_plugin {cli.__version__}\n" in said
