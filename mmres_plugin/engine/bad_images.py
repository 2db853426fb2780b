"""A broken image ends a run with the name of its file."""

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.hooks import Hook
from mmengine.runner import Runner

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
            raise UnreadableImage(
                f"the image {results.get('img_path')} cannot be read: {error} "
                "(replace the file, or take it out of the data set)"
            ) from error


class NameBadImages(Hook):
    """Puts :class:`NamedLoader` around the image loaders of the data sets that a run reads."""

    def before_train(self, runner: Runner) -> None:
        name_bad_images(runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            name_bad_images(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        name_bad_images(runner.test_dataloader.dataset)


def name_bad_images(dataset: Any) -> None:
    """Wrap the image loaders in the pipelines of ``dataset``, once."""
    for one in innermost_datasets(dataset):
        transforms = getattr(getattr(one, "pipeline", None), "transforms", [])
        for index, transform in enumerate(transforms):
            if isinstance(transform, LoadImageFromFile):
                transforms[index] = NamedLoader(transform)


def innermost_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets that read files, within any wrappers (repeat, concatenate …)."""
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner == [None]:
        yield dataset
    for one in inner:
        if one is not None:
            yield from innermost_datasets(one)
