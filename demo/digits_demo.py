#!/usr/bin/env python3
"""Train and show a detector of handwritten digits, from nothing: ``make demo``.

Five steps: build the data, train an SReResNet-18 to classify single digits, train an FCOS detector
that starts from its backbone, evaluate, draw. Each step is a command that a user would type, and
is printed. A rerun skips the training runs that are finished.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch
from pictures import draw_curves, draw_predictions, read_scalars

from mmres_plugin.environment import check_compiled_ops

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = Path(os.path.relpath(ROOT / "configs" / "digits"))
QUICK_DATA = ["--train-images=64", "--val-images=16", "--train-crops=640", "--val-crops=100"]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    what = "run every part on few images, without useful accuracy"
    add("--quick", action="store_true", help=what)
    add("--work-dir", type=Path, help="default: work_dirs/demo, with --quick work_dirs/demo_quick")
    what = "auto takes a GPU if there is one"
    add("--device", choices=["auto", "cpu"], default="auto", help=what)
    add("--fresh", action="store_true", help="repeat finished training runs")
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path("work_dirs", "demo_quick" if args.quick else "demo")
    return args


def mmres(*words: object) -> None:
    """Run ``mmres`` with these words, its output on the screen; end the demo if it fails."""
    print("$ mmres " + shlex.join(map(str, words)), flush=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "mmres_plugin", *map(str, words)]
    if code := subprocess.call(command, env={**os.environ, "PYTHONPATH": path}):
        what = f"mmres {words[0]} ended with exit code {code}; its error is above"
        sys.exit(f"\nThe demo stopped: {what}. A rerun starts with this step.")


def train(config: Path, folder: Path, data: Path, options: list[str], fresh: bool) -> Path:
    """Train, unless it was finished before with the same config, options and data.

    Returns:
        The last checkpoint.
    """
    stamp = folder / "finished.txt"
    wanted = "\n".join([config.read_text(), (data / "manifest.json").read_text(), *options])
    if not fresh and stamp.exists() and stamp.read_text() == wanted:
        print(f"finished before, in {folder} (--fresh repeats it)", flush=True)
    else:
        stamp.unlink(missing_ok=True)
        mmres("train", config, "--work-dir", folder, *cfg_options(options))
        stamp.write_text(wanted)
    return Path((folder / "last_checkpoint").read_text().strip())


def cfg_options(options: list[str]) -> list[str]:
    return ["--cfg-options", *options] if options else []


def quick_options(data: Path) -> list[str]:
    """Settings of a short run on the data in this folder."""
    loaders = [f"{split}_dataloader.dataset.data_root={data}" for split in ("train", "val", "test")]
    return ["train_cfg.max_epochs=2", *loaders]


def heading(number: int, text: str) -> None:
    print(f"\n=== {number}/5 {text} ===", flush=True)


def main() -> None:
    args, start = parse_args(), time.time()
    try:
        check_compiled_ops(cuda=torch.cuda.is_available())
    except ImportError as error:
        print(f"Everything runs on the CPU: {error}", flush=True)
        args.device = "cpu"
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    folder = args.work_dir
    # The reduced data goes elsewhere, so that it does not replace the full set.
    data = folder / "digits" if args.quick else Path("data/digits")
    for_classifier, for_detector = [], []
    if args.quick:
        for_classifier = quick_options(data / "classification")
        scenes = data / "detection"
        for_detector = quick_options(scenes)
        annotations = scenes / "annotations/instances_val2017.json"
        for_detector += [f"{e}.ann_file={annotations}" for e in ("val_evaluator", "test_evaluator")]
        # So few steps may leave no score above the threshold, and then nothing to evaluate.
        for_detector += ["model.test_cfg.score_thr=0.0"]

    heading(1, "handwritten digits on photographs")
    mmres("digits", "--out", data, *(QUICK_DATA if args.quick else []))
    heading(2, "train a classifier of single digits (SReResNet-18)")
    config = CONFIGS / "sreresnet18_digits.py"
    classifier = train(config, folder / "classifier", data, for_classifier, args.fresh)
    heading(3, "train a detector from the classifier's backbone (FCOS)")
    config = CONFIGS / "fcos_sreresnet18_digits.py"
    options = [f"model.backbone.init_cfg.checkpoint={classifier}", *for_detector]
    detector = train(config, folder / "detector", data, options, args.fresh)
    heading(4, "evaluate the detector as COCO does")
    found = folder / "predictions.pkl"
    evaluation = ("--out", found, "--work-dir", folder / "evaluation", *cfg_options(for_detector))
    mmres("test", config, detector, *evaluation)
    heading(5, "draw")
    predictions, curves = folder / "demo_predictions.png", folder / "demo_curves.png"
    draw_predictions(data / "detection", found, predictions)
    logs = read_scalars(folder / "classifier"), read_scalars(folder / "detector")
    top1, ap50, ap = draw_curves(*logs, curves)
    print(
        f"\nDone in {(time.time() - start) / 60:.1f} minutes: the classifier is right on "
        f"{top1:.1f} % of the validation digits,\nthe detector has AP50 {ap50:.3f} (AP {ap:.3f}) "
        "on photographs it has never seen.\n"
        f"  detections beside the truth  {predictions}\n"
        f"  training curves              {curves}\n"
        f"  checkpoint of the detector   {detector}\n"
        "Next, on your own images:  mmres new --help"
    )


if __name__ == "__main__":
    main()
