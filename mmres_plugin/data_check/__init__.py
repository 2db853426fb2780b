"""Faults in the data that a training reads, named by file and by annotation.

:mod:`.coco` looks at annotations in COCO's format, :mod:`.folders` at image folders and lists,
:mod:`.images` at the images. ``tools/datasets/check_dataset.py`` reports all of it; a training
looks at its annotations only.
"""

from .coco import inspected_annotations
from .faults import Fault, summary

__all__ = ["Fault", "inspected_annotations", "summary"]
