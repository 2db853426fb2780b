#!/usr/bin/env python3
"""Train and show a detector of handwritten digits, from nothing: ``python demo/digits_demo.py``.

Five steps: build the data, train an SReResNet-18 to classify single digits, train an FCOS detector
that starts from its backbone, evaluate, draw. Every step runs the tool that a user would run, and
prints its command. A rerun skips the training runs that are finished.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch
from pictures import draw_curves, draw_predictions, read_scalars

from mmres_plugin.dependencies import check_compiled_ops

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "digits"
CLASSIFIER = CONFIGS / "sreresnet18_digits.py"
DETECTOR = CONFIGS / "fcos_sreresnet18_digits.py"
STEPS = 5


class StepFailed(Exception):
    """A step's command ended with an error, which it has printed."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Build the digits data, train a classifier, then a detector from it; draw."
    )
    parser.add_argument(
        "--quick", action="store_true", help="run every part on few images, without useful accuracy"
    )
    parser.add_argument(
        "--work-dir", type=Path, help="default: work_dirs/demo, with --quick work_dirs/demo_quick"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu"], default="auto", help="auto takes a GPU if there is one"
    )
    parser.add_argument("--fresh", action="store_true", help="repeat finished training runs")
    args = parser.parse_args()
    if args.work_dir is None:
        args.work_dir = Path("work_dirs/demo_quick" if args.quick else "work_dirs/demo")
    return args


def gpu_is_fit() -> bool:
    """Whether detectors can be trained on the GPU, if there is one; says so if not."""
    try:
        check_compiled_ops(cuda=torch.cuda.is_available())
    except ImportError as error:
        print(f"Everything runs on the CPU: {error}", flush=True)
        return False
    return True


class Demo:
    """The steps and what passes from one to the next.

    Args:
        args: what :func:`parse_args` returns.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work_dir = args.work_dir.absolute()
        # The reduced data goes elsewhere, so that it does not replace the full set.
        self.data = self.work_dir / "digits" if args.quick else Path("data/digits").absolute()
        self.env = dict(os.environ)
        self.env["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        if args.device == "cpu" or not gpu_is_fit():
            self.env["CUDA_VISIBLE_DEVICES"] = ""

    def run(self) -> None:
        start = time.time()
        heading(1, "handwritten digits on photographs")
        self.build_data()
        heading(2, "train a classifier of single digits (SReResNet-18)")
        classifier = self.train(CLASSIFIER, "classifier", self.classifier_options())
        heading(3, "train a detector from the classifier's backbone (FCOS)")
        detector = self.train(DETECTOR, "detector", self.detector_options(classifier))
        heading(4, "evaluate the detector as COCO does")
        predictions = self.evaluate(detector)
        heading(5, "draw")
        self.draw_and_close(predictions, detector, time.time() - start)

    def build_data(self) -> None:
        sizes = ["--out", str(self.data)]
        if self.args.quick:
            sizes += ["--train-images", "64", "--val-images", "16"]
            sizes += ["--train-crops", "640", "--val-crops", "100"]
        self.tool("datasets/build_digits.py", *sizes)

    def classifier_options(self) -> list[str]:
        if not self.args.quick:
            return []
        root = self.data / "classification"
        return ["train_cfg.max_epochs=2", *data_roots(root)]

    def detector_options(self, classifier: Path) -> list[str]:
        options = [f"model.backbone.init_cfg.checkpoint={classifier}"]
        if self.args.quick:
            root = self.data / "detection"
            annotations = root / "annotations/instances_val2017.json"
            options += ["train_cfg.max_epochs=2", *data_roots(root)]
            # So few steps may leave no score above the threshold, and then nothing to evaluate.
            options += ["model.test_cfg.score_thr=0.0"]
            options += [f"{e}.ann_file={annotations}" for e in ("val_evaluator", "test_evaluator")]
        return options

    def train(self, config: Path, name: str, options: list[str]) -> Path:
        """Train, unless it was finished before with the same config, options and data.

        Returns:
            The last checkpoint.
        """
        folder = self.work_dir / name
        stamp = folder / "finished.json"
        wanted = {
            "config": config.read_text(),
            "options": options,
            "data": json.loads((self.data / "manifest.json").read_text()),
        }
        if not self.args.fresh and stamp.exists() and json.loads(stamp.read_text()) == wanted:
            print(f"finished before, in {folder} (--fresh repeats it)", flush=True)
            return last_checkpoint(folder)
        stamp.unlink(missing_ok=True)
        self.tool("train.py", config, "--work-dir", folder, *cfg_options(options))
        checkpoint = last_checkpoint(folder)
        stamp.write_text(json.dumps(wanted))
        return checkpoint

    def evaluate(self, detector: Path) -> Path:
        """Print the COCO table of the detector. Returns the file of its predictions."""
        predictions = self.work_dir / "predictions.pkl"
        command = ["test.py", DETECTOR, detector, "--out", predictions]
        options = self.detector_options(self.work_dir / "classifier")[1:]
        self.tool(*command, "--work-dir", self.work_dir / "evaluation", *cfg_options(options))
        return predictions

    def draw_and_close(self, predictions: Path, detector: Path, seconds: float) -> None:
        picture, curves = self.work_dir / "demo_predictions.png", self.work_dir / "demo_curves.png"
        draw_predictions(self.data / "detection", predictions, picture)
        classifier_log = read_scalars(self.work_dir / "classifier")
        detector_log = read_scalars(self.work_dir / "detector")
        draw_curves(classifier_log, detector_log, curves)
        top1 = last(classifier_log, "accuracy/top1")
        ap50, ap = last(detector_log, "coco/bbox_mAP_50"), last(detector_log, "coco/bbox_mAP")
        print(
            f"\nDone in {seconds / 60:.1f} minutes: the classifier is right on {top1:.1f} % of the "
            f"validation digits,\nthe detector has AP50 {ap50:.3f} (AP {ap:.3f}) on photographs "
            "it has never seen.\n"
            f"  detections beside the truth  {picture}\n"
            f"  training curves              {curves}\n"
            f"  checkpoint of the detector   {detector}\n"
            "Next, on COCO in data/coco:  python tools/train.py "
            "configs/sreresnet/fcos_sreresnet50_1x.py"
        )

    def tool(self, name: str, *args: object) -> None:
        """Run one of the tools; its output goes to the screen as it comes."""
        words = [str(ROOT / "tools" / name), *map(str, args)]
        print(
            "$ python " + shlex.join(os.path.relpath(w) if os.path.isabs(w) else w for w in words)
        )
        sys.stdout.flush()
        done = subprocess.run([sys.executable, *words], env=self.env)
        if done.returncode:
            raise StepFailed(f"{name} ended with exit code {done.returncode}; its error is above")


def heading(number: int, text: str) -> None:
    print(f"\n=== {number}/{STEPS} {text} ===", flush=True)


def cfg_options(options: list[str]) -> list[str]:
    return ["--cfg-options", *options] if options else []


def data_roots(root: Path) -> list[str]:
    return [f"{split}_dataloader.dataset.data_root={root}" for split in ("train", "val", "test")]


def last_checkpoint(folder: Path) -> Path:
    return Path((folder / "last_checkpoint").read_text().strip())


def last(log: list[dict], key: str) -> float:
    return [entry[key] for entry in log if key in entry][-1]


def main() -> int:
    try:
        Demo(parse_args()).run()
    except StepFailed as error:
        print(f"\nThe demo stopped: {error}. A rerun starts with this step.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; a rerun skips what is finished.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
