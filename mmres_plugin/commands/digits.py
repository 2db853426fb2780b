#!/usr/bin/env python3
"""Build data/digits: handwritten digits on photographs, without any download.

    python tools/datasets/build_digits.py [--out data/digits] [--picture samples.png]

writes a detection set in COCO's layout and a classification set in ImageNet's:

    OUT/detection/annotations/instances_{train,val}2017.json
    OUT/detection/{train,val}2017/*.jpg
    OUT/classification/{train,val}/{0..9}/*.jpg
    OUT/manifest.json                               written last: with it the set is complete

The same arguments and library versions give the same bytes. A complete set of the same arguments
is left alone; anything else that this tool has built is rebuilt.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

BUILDER = "mmres_plugin digits"
VERSION = 1  # to be raised whenever the same arguments give other images
LIBRARIES = {  # what is imported: what is installed
    "cv2": "opencv-python",
    "numpy": "numpy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


class BuildError(Exception):
    """Something the user can fix; its text says what and how."""


def parse_args(argv: list[str] | None = None, **defaults) -> argparse.Namespace:
    """Parse a command line.

    Args:
        argv: The command line; by default that of the process.
        **defaults: Replace those of the options. ``kind`` says what to draw.
    """
    parser = argparse.ArgumentParser(
        description="Build a detection and a classification set, without any download.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("data/digits"), help="folder to build")
    parser.add_argument("--train-images", type=int, default=1120, help="detection, training images")
    parser.add_argument("--val-images", type=int, default=100, help="detection, validation images")
    parser.add_argument(
        "--train-objects",
        type=int,
        nargs=2,
        default=[10, 16],
        metavar=("MIN", "MAX"),
        help="in a training image for detection; validation images have 3 to 10",
    )
    parser.add_argument("--size", type=int, default=256, help="side of a detection image, pixels")
    parser.add_argument("--train-crops", type=int, default=16000, help="classification, training")
    parser.add_argument("--val-crops", type=int, default=1000, help="classification, validation")
    parser.add_argument("--crop-size", type=int, default=40, help="side of a crop, pixels")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    parser.add_argument("--picture", type=Path, help="also draw samples with boxes to this file")
    parser.set_defaults(**{"kind": "digits", **defaults})
    return parser.parse_args(argv)


def check_numbers(args: argparse.Namespace) -> None:
    limits = {
        "train_images": (1, 1_000_000),
        "val_images": (1, 1_000_000),
        "train_objects": (1, 50),
        "train_crops": (10, 1_000_000),
        "val_crops": (10, 1_000_000),
        "size": (64, 2048),
        "crop_size": (32, 512),
        "seed": (0, 2**32 - 1),
    }
    for name, (low, high) in limits.items():
        value = getattr(args, name)
        option = "--" + name.replace("_", "-")
        for number in value if isinstance(value, list) else [value]:
            if not low <= number <= high:
                raise BuildError(f"{option} is {number}, must be from {low} to {high}")
        if isinstance(value, list) and value != sorted(value):
            raise BuildError(f"{option} is {value[0]} {value[1]}: the second must not be smaller")


def library_versions() -> dict[str, str]:
    versions = {}
    for name, distribution in LIBRARIES.items():
        try:
            versions[name] = importlib.import_module(name).__version__
        except ImportError as error:
            raise BuildError(
                f"{name} cannot be imported ({error}), and the digits or photos need it: "
                f"pip install {distribution}"
            ) from error
    return versions


def describe(args: argparse.Namespace) -> dict:
    """All that decides the bytes of a set."""
    skipped = ("out", "picture")
    return {
        "builder": BUILDER,
        "version": VERSION,
        "libraries": library_versions(),
        "arguments": {name: value for name, value in vars(args).items() if name not in skipped},
    }


def contents(folder: Path) -> dict[str, int]:
    """Number and total size of the files of a set: enough to notice lost or cut-off ones."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file() and p != manifest(folder)]
    return {"files": len(sizes), "bytes": sum(sizes)}


def manifest(folder: Path) -> Path:
    return folder / "manifest.json"


def read_manifest(folder: Path) -> dict | None:
    """The manifest of a set; None when there is nothing at `folder`.

    Raises:
        BuildError: when `folder` holds something that this tool did not build.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        found = json.loads(manifest(folder).read_text())
        if found["builder"] == BUILDER:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise BuildError(
        f"{folder} exists and was not made by this tool, so it is not touched: "
        "move it away or choose another --out"
    )


def build(args: argparse.Namespace) -> bool:
    """Build the set that `args` ask for, unless it is there. Returns whether it was built.

    The images are drawn in a folder next to the final one and renamed at the end, so an incomplete
    set never has the final name.

    Raises:
        BuildError: for arguments out of range, a missing library or a folder that cannot be used.
    """
    check_numbers(args)
    wanted, out = describe(args), args.out.absolute()
    try:
        remove_leftovers(out)
        found = read_manifest(out)
        if found is not None and found == {**wanted, "contents": contents(out)}:
            return False
        if found is not None:
            print(f"{out} has other arguments or is damaged: rebuilding it")
        out.parent.mkdir(parents=True, exist_ok=True)
        work = out.with_name(f".{out.name}.building-{os.getpid()}")
        from digits.sets import draw_classification, draw_detection, workers

        try:
            with workers() as pool:
                draw_detection(args, work / "detection", pool)
                draw_classification(args, work / "classification", pool)
            complete = {**wanted, "contents": contents(work)}
            manifest(work).write_text(json.dumps(complete, indent=2) + "\n")
            if out.exists():
                out.rename(work.with_name(work.name + "-old"))
            work.rename(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        remove_leftovers(out)
    except OSError as error:
        raise BuildError(f"cannot build {out}: {error}") from error
    return True


def remove_leftovers(out: Path) -> None:
    """Remove what builds that were killed have left; a build that still runs is not touched."""
    for folder in out.parent.glob(f".{out.name}.building-*"):
        pid = re.fullmatch(r".*building-(\d+)(-old)?", folder.name)
        if pid and not is_other_running(int(pid[1])):
            shutil.rmtree(folder, ignore_errors=True)


def is_other_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return pid != os.getpid()


def main(**defaults) -> int:
    """Build what the command line asks for; ``defaults`` are those of :func:`parse_args`."""
    args = parse_args(**defaults)
    try:
        built = build(args)
        print(f"{args.out.absolute()}: {'built' if built else 'complete already, nothing to do'}")
        if args.picture:
            from digits.picture import draw_samples

            draw_samples(args.out, args.picture)
            print(f"{args.picture.absolute()}: samples with their boxes")
    except (BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
