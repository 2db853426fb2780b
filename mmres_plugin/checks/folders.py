"""Image folders and lists, as MMPretrain's ``CustomDataset`` reads them."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from mmengine.fileio import list_dir_or_file

from ..images import OTHER_SUFFIXES, SUFFIXES
from .faults import Faults


def listed(folder: Path, faults: Faults, **what: Any) -> list[Path]:
    """What MMEngine lists in a folder, sorted; hidden files are not, and links are followed."""
    try:
        return [folder / name for name in sorted(list_dir_or_file(folder, **what))]
    except OSError as error:  # a link that leads back to itself
        faults.add("folder that cannot be read", f"{folder} ({error.strerror})")
        return []


def images_in(
    folder: Path, extensions: Sequence[str], faults: Faults
) -> tuple[list[Path], list[Path]]:
    """The files below ``folder`` that a data set takes, and the images that it passes over."""
    taken = tuple(suffix.lower() for suffix in extensions)
    files = listed(folder, faults, list_dir=False, recursive=True)
    images = [path for path in files if path.name.lower().endswith(taken)]
    others = {*SUFFIXES, *OTHER_SUFFIXES} - set(taken)
    return images, [path for path in files if path.suffix.lower() in others]


def folder_images(
    folder: Path, extensions: Sequence[str], faults: Faults
) -> tuple[dict[str, list[Path]], str]:
    """The images of each class folder in ``folder``, and a remark on other images or ``''``.

    Args:
        folder: The folder of class folders.
        extensions: The suffixes that the data set takes.
        faults: Where to count faults.
    """
    images, suffixes = {}, []
    for one in listed(folder, faults, list_file=False):
        images[one.name], passed_over = images_in(one, extensions, faults)
        suffixes += [path.suffix.lower() for path in passed_over]
        if one.name.startswith("."):
            faults.add("hidden folder as a class", str(one))
        elif not images[one.name]:
            faults.add("class without images", str(one))
    if not suffixes:
        return images, ""
    new = sorted(set(suffixes))
    return images, (
        f"{len(suffixes):,} images in {folder} are passed over, as they end in {', '.join(new)}. "
        f"To take them, write into the data set: extensions={(*extensions, *new)}"
    )


def listed_images(
    path: Path, folder: Path, with_label: bool, faults: Faults
) -> dict[int, list[Path]]:
    """The images of each label in a list.

    Args:
        path: The list: one path and label per line.
        folder: What the paths start from.
        with_label: Whether there are labels; else all images have the label 0.
        faults: Where to count the faults of the list.
    """
    images: dict[int, list[Path]] = {}
    known = set()
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        faults.add("not in the format", f"{path} is not UTF-8 ({error}): save it as UTF-8")
        return images
    if text.startswith("\ufeff"):
        faults.add("not in the format", f"{path} starts with a byte order mark: save it without")
    for number, line in enumerate(StringIO(text.removeprefix("\ufeff")), 1):
        line = line.rstrip("\r\n")  # no other character ends a line for MMEngine either
        where = f"{path}, line {number}: {line!r}"
        name, blank, text = line.strip().rpartition(" ") if with_label else (line, " ", "0")
        label = integer(text)
        if not blank or label is None:
            faults.add("line without a label", f"{where} ({cure(line, number)})")
            continue
        if label < 0:
            faults.add("label below 0", where)
        if name in known:
            faults.add("two lines for an image", where)
        known.add(name)
        images.setdefault(label, []).append(folder / name)
    return images


def integer(text: str) -> int | None:
    """``text`` as Python's ``int`` reads it, or None."""
    try:
        return int(text)
    except ValueError:
        return None


def cure(line: str, number: int) -> str:
    """What to do with a line of a list that has no label where one is due."""
    if not line.strip():
        return "remove the empty line"
    for mark, name in ((",", "comma"), ("\t", "tab"), (";", "semicolon")):
        if mark in line and integer(line.rpartition(mark)[2]) is not None:
            return f"separate path and label by a blank, not by a {name}"
    if number == 1 and not Path(line.split()[0].split(",")[0]).suffix:
        return "remove the header"
    return "a label is the number of a class, from 0, after the last blank"
