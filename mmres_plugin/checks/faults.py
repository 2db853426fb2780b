"""What a check finds: errors and remarks about a run, and faults in its data."""

from collections import Counter
from collections.abc import Iterator


class Remark(str):
    """A finding with which the run goes on; any other text is an error."""


# What becomes of the faults in MMDetection and MMPretrain.
STOPS, DROPPED = "stops a training", "is left out of a training"
CHANGES, NO_FAULT = "changes what is learned", "is not a fault"
PASSED_OVER = "is left out on purpose"
KINDS = {
    "not in the format": STOPS,
    "missing or wrong value": STOPS,
    "duplicate id": STOPS,
    "duplicate category name": STOPS,
    "object without a mask": STOPS,
    "mask that cannot be read": STOPS,
    "mask of another size": STOPS,
    "folder that cannot be read": STOPS,
    "line without a label": STOPS,
    "label below 0": STOPS,
    "image that is not there": STOPS,
    "unreadable image": STOPS,
    "unknown image": DROPPED,
    "unknown category": DROPPED,
    "box without area": DROPPED,
    "box outside the image": DROPPED,
    "mask without area": DROPPED,
    "image has another size": CHANGES,
    "two lines for an image": CHANGES,
    "hidden folder as a class": CHANGES,
    "box far beyond its image": NO_FAULT,
    "16-bit image of less than 13 bits, read as 8 bits": NO_FAULT,
    "image without objects": NO_FAULT,
    "class without objects": NO_FAULT,
    "class without images": NO_FAULT,
    "ignored object": PASSED_OVER,
    "object of another class": PASSED_OVER,
    "crowd": PASSED_OVER,
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
