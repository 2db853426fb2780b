"""Kinds of faults in the data, and what becomes of each in MMDetection and MMPretrain."""

from collections import Counter
from collections.abc import Iterator

STOPS, DROPPED = "stops a training", "is left out of a training"
CHANGES, REMARK = "changes what is learned", "is not a fault"
KINDS = {
    "not in the format": STOPS,
    "missing key": STOPS,
    "wrong type": STOPS,
    "duplicate id": STOPS,
    "duplicate category name": STOPS,
    "object without a mask": STOPS,
    "mask of another size": STOPS,
    "line without a label": STOPS,
    "label below 0": STOPS,
    "image that is not there": STOPS,
    "unreadable image": STOPS,
    "unknown image": DROPPED,
    "unknown category": DROPPED,
    "box is not finite": DROPPED,
    "box without area": DROPPED,
    "box outside the image": DROPPED,
    "mask without area": DROPPED,
    "box without end": CHANGES,  # MMDetection cuts it at the border of the image
    "image has another size": CHANGES,
    "two lines for an image": CHANGES,
    "hidden folder as a class": CHANGES,
    "box far beyond its image": REMARK,
    "file that is not taken for an image": REMARK,
    "16-bit image of less than 13 bits, read as 8 bits": REMARK,
    "image without objects": REMARK,
    "class without objects": REMARK,
    "class without images": REMARK,
}
SHOWN = 3  # examples of each kind


class Faults:
    """The faults of one data set: how many of each kind, with the first examples.

    Attributes:
        count: How many there are, by the keys of :data:`KINDS`.
    """

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, where: str) -> None:
        """Count a fault of ``kind`` in the annotation, image, line or folder ``where``."""
        self.count[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < SHOWN:
            examples.append(where)

    def lines(self, *effects: str) -> Iterator[str]:
        """A line for each kind that has one of these effects: how many, what, and examples."""
        for kind, effect in KINDS.items():
            if self.count[kind] and effect in effects:
                more = ["…"] if self.count[kind] > SHOWN else []
                examples = ", ".join(self._examples[kind] + more)
                yield f"{self.count[kind]:,} × {kind}: {examples}"
