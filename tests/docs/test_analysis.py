"""Every command of docs/analysis.md, run as it stands there on tiny data, and its log backends."""

import json
import os
import re
import sys
from pathlib import Path

import cv2
import pytest
from helpers import ENV, ROOT, run
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/analysis.md").read_text("utf-8")
FOLDERS, *BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^(?:python|mmres) (?:.*\\\n)*.*$", "".join(BLOCKS), re.MULTILINE)
WRITTEN = r"--(?:out|save-path|show-path|output-dir|picture) (\S+)"
TENSORBOARD, MLFLOW = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# An MLflow that writes down what it is given.
STUB = """
import json

def __getattr__(name):
    def call(*args, **kwargs):
        with open("mlflow.log", "a") as file:
            print(name, json.dumps([args, kwargs], default=str), file=file)
    return call
"""

# For a confusion matrix that is not 1000 by 1000.
TWO_CLASSES = """
model.update(head=dict(num_classes=2, topk=(1,)))
data_preprocessor = dict(num_classes=2)
for loader in (train_dataloader, val_dataloader):
    loader["dataset"].update(metainfo=dict(classes=("cat", "dog")))
del loader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which the commands of the page can be run, as if `det` and `cls` were trained."""
    folder = tmp_path_factory.mktemp("analysis")
    (folder / "mlflow.py").write_text(STUB)
    detector_config(folder / "det.py", make_coco(folder / "coco"), TENSORBOARD)
    classifier_config(folder / "cls.py", make_imagenet(folder / "in1k"), TWO_CLASSES + MLFLOW)
    for name in ("det", "cls"):
        command = (sys.executable, "-m", "mmres_plugin", "train", f"{name}.py")
        run(*command, cwd=folder, env=env(folder))
    image = next((folder / "in1k").rglob("*.JPEG"))
    (folder / "cat.jpg").write_bytes(image.read_bytes())
    return folder


@pytest.fixture(scope="module")
def shell(folder):
    """Runs a command in this folder, where the variables of the page are set."""
    show = FOLDERS + "echo MMDET=$MMDET MMPRETRAIN=$MMPRETRAIN"
    output = run("bash", "-euc", show, cwd=folder, env=env(folder))
    found = dict(re.findall(r"(MMDET|MMPRETRAIN)=(\S+)", output))
    assert all((Path(found[name]) / "analysis_tools").is_dir() for name in ("MMDET", "MMPRETRAIN"))
    return lambda command: run("bash", "-euc", command, cwd=folder, env={**env(folder), **found})


def env(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), ENV["PATH"]])
    modules = os.pathsep.join([str(folder), ENV["PYTHONPATH"]])
    return {**ENV, "PATH": path, "MPLBACKEND": "Agg", "PYTHONPATH": modules}


def test_commands(folder, shell):
    """In the order of the page; each leaves the pictures that it promises."""
    assert len(COMMANDS) == 15
    for command in COMMANDS:
        shell(command)
        for name in re.findall(WRITTEN, command):
            if not name.endswith(".pkl"):
                made = list((folder / name).rglob("*.[jJ]*")) or [folder / name]
                for path in made:
                    image = cv2.imread(str(path))
                    assert image is not None and image.std() > 1, f"{command}: {path} is empty"
    assert (folder / "confusion/confusion_matrix.png").stat().st_size > 5000


def test_tensorboard_has_the_scalars_of_the_log(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (scalars,) = folder.glob("work_dirs/det/*/vis_data/scalars.json")
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    (events,) = scalars.parent.glob("events.out.tfevents*")
    accumulator = EventAccumulator(str(events)).Reload()
    losses = [round(event.value, 3) for event in accumulator.Scalars("loss")]
    assert losses == [round(entry["loss"], 3) for entry in logged if "loss" in entry]
    assert "coco/bbox_mAP" in accumulator.Tags()["scalars"]


def test_mlflow_gets_the_metrics(folder):
    """MLflow itself does not fit the pinned set of packages: a stub stands in for it."""
    calls = (folder / "mlflow.log").read_text().splitlines()
    metrics = "".join(call for call in calls if call.startswith("log_metrics "))
    assert '"loss": ' in metrics and '"accuracy/top1": ' in metrics
