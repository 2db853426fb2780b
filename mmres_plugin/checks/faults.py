"""Kinds of faults in the data, and what each does to training."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import shortened

STOPS, DROPPED = "stops a training", "is left out of a training"
CHANGES, REMARK = "changes what is learned", "is not a fault"
# Each kind of fault, and what becomes of it in MMDetection and MMPretrain.
KINDS = {
    "not in the format": STOPS,
    "missing key": STOPS,
    "wrong type": STOPS,
    "duplicate id": STOPS,
    "box is infinite or NaN": STOPS,
    "line without a label": STOPS,
    "image that is not there": STOPS,
    "unreadable image": STOPS,
    "unknown image": DROPPED,
    "unknown category": DROPPED,
    "box without area": DROPPED,
    "box outside the image": DROPPED,
    "truncated image": CHANGES,  # OpenCV makes the rest of it grey
    "image has another size": CHANGES,
    "two lines for an image": CHANGES,
    "hidden folder as a class": CHANGES,
    "image without objects": REMARK,
    "class without objects": REMARK,
    "class without images": REMARK,
}


class Fault(NamedTuple):
    """One fault.

    Attributes:
        kind: A key of :data:`KINDS`.
        where: The annotation, image, line or folder.
    """

    kind: str
    where: str


def summary(faults: Iterable[Fault]) -> Iterator[tuple[str, str, str]]:
    """For each kind: its name, what becomes of it, and how many there are, with examples."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        found.setdefault(fault.kind, []).append(fault.where)
    for kind, effect in KINDS.items():
        if kind in found:
            yield kind, effect, f"{len(found[kind])} × {kind}: {shortened(found[kind], 3)}"
