"""The command ``mmres``: the same tools with the same options, from anywhere."""

import re
import runpy
import sys

import pytest
from helpers import ROOT, run

from mmres_plugin import cli


def mmres(*args: object) -> int:
    """Run the command in this process; returns the exit code."""
    before = sys.argv, list(sys.path), sys.modules["__main__"]
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = before
    return 0


@pytest.mark.parametrize("name", sorted(cli.installed_tools()))
def test_each_command_is_its_tool(name, capsys):
    """The help is that of the script, under the name of the command."""
    assert mmres(name, "--help") == 0
    said = capsys.readouterr().out
    assert f"usage: mmres {name} [-h]" in said


def test_overview(capsys):
    assert mmres() == 0
    said = capsys.readouterr().out
    assert mmres("--help") == 0
    assert capsys.readouterr().out == said
    for name, _, what in (*cli.TOOLS, ("run", "", "run a tool of mmpretrain or mmdet")):
        assert re.search(rf"\n  {name} +{what}", said)
    assert mmres("--version") == 0
    assert capsys.readouterr().out == f"mmres_plugin {cli.__version__}\n"


def test_the_page_lists_each_command():
    page = (ROOT / "docs/predict.md").read_text("utf-8").partition("## All commands")[2]
    listed = set(re.findall(r"`(?:mmres )?([a-z-]+)`", page))
    assert {name for name, *_ in cli.TOOLS} <= listed


def test_commands_whose_script_is_not_here_are_not_offered(monkeypatch, capsys):
    monkeypatch.setattr(cli, "TOOLS", (*cli.TOOLS, ("fly", "fly.py", "fly")))
    mmres()
    assert "fly" not in capsys.readouterr().out
    assert mmres("fly") == 2


def test_wrong_commands(capsys):
    assert mmres("trian") == 2
    assert "there is no command 'trian'. Did you mean 'train'?" in capsys.readouterr().err
    assert mmres("run", "mmdet/trian") == 2
    assert "there is no tool mmdet/trian. Did you mean 'mmdet/train'?" in capsys.readouterr().err
    assert mmres("train", "gone.py") == 2
    assert "there is no config gone.py" in capsys.readouterr().err


def test_tools_of_the_packages(capsys):
    assert mmres("run") == 0
    said = capsys.readouterr().out.split()
    assert {"mmdet/train", "mmpretrain/visualization/vis_cam", "mmdet/misc/print_config"} <= set(
        said
    )


def test_models_by_pattern(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/iresnet18_8xb32_in1k.pth").touch()
    assert mmres("info", "iresnet[13]*_in1k") == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head[0] == "model"
    found = {row[0]: row[1:] for row in rows}
    assert found["iresnet18_8xb32_in1k"][:3] == [
        *("11.690", "1.814", "checkpoints/iresnet18_8xb32_in1k.pth"),
    ]
    assert found["iresnet34_8xb32_in1k"][2] == "–"
    assert set(found) >= {f"iresnet{depth}_8xb32_in1k" for depth in (18, 34, 101, 152)}
    assert mmres("info", "seresnet50_8xb32_in1k") == 0
    assert "published" in capsys.readouterr().out
    assert mmres("info", "iresnet51") == 2
    assert "no model matches 'iresnet51'" in capsys.readouterr().err


def test_models_are_built_and_run(capsys):
    assert mmres("info", "*sreresnet18*", "--check") == 0
    said = capsys.readouterr().out
    assert "ok 1×512" in said  # the classifier, behind its pooling
    assert "work" in said.splitlines()[-1]


def test_a_model_that_fails_is_reported(capsys):
    """Exit code 1, and the others are tried."""
    names = runpy.run_path(str(ROOT / "tools/info.py"))
    assert names["check"](ROOT / "configs/gone.py").startswith("failed: UserError: Nothing")


def test_report_of_the_environment(capsys):
    code = mmres("info")
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = {row[0]: row[1] for row in rows if len(row) == 2}
    assert said["mmres_plugin"].startswith(cli.__version__)
    assert {"Python", "CPU", "GPU", "torch", "mmengine", "mmpretrain", "mmdet", "numpy"} <= set(
        said
    )
    assert code == int(said["fit"] != "all packages fit together")


def test_families_of_packages(monkeypatch):
    from mmres_plugin import environment

    owners = {"mmengine": ["onedl-mmengine"], "mmcv": ["mmcv", "onedl-mmcv"], "mmdet": ["mmdet"]}
    monkeypatch.setattr(environment, "distributions", lambda: owners)
    twice, mixed = environment.problems()[:2]
    assert twice.startswith("mmcv is installed twice, by mmcv and onedl-mmcv, which overwrite")
    assert "onedl-mmengine, onedl-mmcv beside mmcv, mmdet" in mixed


@pytest.mark.slow
def test_as_a_program(tmp_path):
    """The module and the console command, in processes of their own."""
    module = [sys.executable, "-m", "mmres_plugin"]
    said = run(*module, "predict", "gone.jpg", "x.py", code=2, cwd=tmp_path)
    assert "there is no file or folder gone.jpg" in said
    said = run(f"{sys.prefix}/bin/mmres", "--version", cwd=tmp_path)
    assert f"mmres_plugin {cli.__version__}\n" in said
