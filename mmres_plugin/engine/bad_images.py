"""A broken image ends a run with the name of its file."""

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from ..errors import UnreadableImage


class NamedLoader:
    """Calls ``loader`` and, when it fails, raises an error that names the image.

    Upstream's own error does so for a missing file, but not for one with no bytes in it.
    """

    def __init__(self, loader: LoadImageFromFile) -> None:
        self.loader = loader

    def __call__(self, results: dict) -> dict | None:
        try:
            return self.loader(results)  # pyright: ignore[reportReturnType]
        except Exception as error:  # each decoder raises its own kinds
            path = results.get("img_path")
            raise UnreadableImage(
                f"the image {path} cannot be read: {error} "
                "(replace the file, or take it out of the data set)"
            ) from error

    def __repr__(self) -> str:
        return repr(self.loader)


class NameBadImages(Hook):
    """Puts :class:`NamedLoader` around the image loaders of all data sets of a runner."""

    def before_run(self, runner: Any) -> None:
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):  # else it is a config that does not run this time
                for dataset in leaves(loop.dataloader.dataset):
                    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", [])
                    for index, transform in enumerate(transforms):
                        if isinstance(transform, LoadImageFromFile):
                            transforms[index] = NamedLoader(transform)


def leaves(dataset: Any) -> Iterator[Any]:
    """The data sets that read files, within any wrappers (repeat, concatenate …)."""
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner == [None]:
        yield dataset
    for one in inner:
        if one is not None:
            yield from leaves(one)
