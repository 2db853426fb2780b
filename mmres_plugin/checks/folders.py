"""Image folders and lists, as MMPretrain's ``CustomDataset`` reads them."""

from collections.abc import Sequence
from pathlib import Path

from ..images import OTHER_SUFFIXES, SUFFIXES, image_files
from .faults import Faults


def folder_images(
    folder: Path, extensions: Sequence[str], faults: Faults
) -> tuple[dict[str, list[Path]], str]:
    """The images of each class folder in ``folder``, and a remark on other images or ``''``.

    Args:
        folder: The folder of class folders.
        extensions: The suffixes that the data set takes.
        faults: Where to count faults.
    """
    taken = tuple(suffix.lower() for suffix in extensions)
    images, passed_over = {}, []
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(image_files(one))
        images[one.name] = [path for path in files if path.name.lower().endswith(taken)]
        others = [path for path in files if not path.name.lower().endswith(taken)]
        passed_over += [
            path for path in others if path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES)
        ]
        if one.name.startswith("."):
            faults.add("hidden folder as a class", str(one))
        elif not images[one.name]:
            faults.add("class without images", str(one))
    for path in passed_over:
        faults.add("file that is not taken for an image", str(path))
    suffixes = sorted({path.suffix.lower() for path in passed_over})
    if not passed_over:
        return images, ""
    return images, (
        f"{len(passed_over):,} images in {folder} are passed over, as they end in "
        f"{', '.join(suffixes)}. To take them, write into the data set: "
        f"extensions={tuple(dict.fromkeys([*taken, *suffixes]))}"
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
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        faults.add("not in the format", f"{path} is not UTF-8 ({error}): save it as UTF-8")
        return images
    if lines and lines[0].startswith("\ufeff"):
        faults.add("not in the format", f"{path} starts with a byte order mark: save it without")
        lines[0] = lines[0].removeprefix("\ufeff")
    for number, line in enumerate(lines, 1):
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
        if integer(line.rpartition(mark)[2]) is not None and mark in line:
            return f"separate path and label by a blank, not by a {name}"
    if number == 1 and not Path(line.split()[0].split(",")[0]).suffix:
        return "remove the header"
    return "a label is the number of a class, from 0, after the last blank"
