"""Image folders and lists, as MMPretrain's ``CustomDataset`` reads them."""

from collections.abc import Iterator
from pathlib import Path

from .faults import Fault

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")  # those of MMPretrain


def folder_images(folder: Path) -> dict[str, list[Path]]:
    """The images of each class folder in ``folder``."""
    return {
        one.name: sorted(path for path in one.rglob("*") if path.suffix.lower() in SUFFIXES)
        for one in sorted(folder.iterdir())
        if one.is_dir()
    }


def folder_faults(images: dict[str, list[Path]]) -> Iterator[Fault]:
    """The faults of what :func:`folder_images` returns."""
    for name, paths in images.items():
        if name.startswith("."):
            yield Fault("hidden folder as a class", name)
        elif not paths:
            yield Fault("class without images", name)


def listed_images(path: Path, folder: Path) -> tuple[dict[str, list[Path]], list[Fault]]:
    """The images of each label in a list, and the faults of the list.

    Args:
        path: The list: one path and label per line.
        folder: What the paths start from.
    """
    images: dict[str, list[Path]] = {}
    faults, known = [], set()
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            faults.append(Fault("line without a label", f"{path.name}, line {number}: {line!r}"))
            continue
        if name in known:
            faults.append(Fault("two lines for an image", f"{path.name}, line {number}: {name}"))
        known.add(name)
        images.setdefault(label, []).append(folder / name)
    return images, faults
