"""A trained classifier or detector, and its predictions for images."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures.mask import encode_mask_results
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.models import BaseClassifier
from mmpretrain.visualization import UniversalVisualizer
from torch import nn

from ..config import known_configs, load_config
from ..config_parts import classes_of, innermost, look_up, scope_of, type_name
from ..errors import UserError, shortened, user_error
from ..hub import hub_model
from ..images import loader_of, read_image
from ..weights import hugging_face
from ..weights.load import load_model
from .files import Picture

# What else the family's packages predict, and who draws it.
TOOLS = {
    "mmseg": "MMSegInferencer of mmseg.apis",
    "mmrotate": "inference_detector of mmdet.apis, as MMRotate's demo/image_demo.py does",
    "mmdet": "DetInferencer of mmdet.apis",
    "mmpretrain": "the inferencers of mmpretrain.apis",
}
READABLE = 224  # labels on smaller images could not be read


class Predictor:
    """Predicts as the test loop of the config does.

    The checkpoint is opened without running anything in it, and must fit the model.

    Args:
        model: The path of a config; the name of a model that the plugin ships or MMPretrain has;
            or ``hf://owner/name``, a repository that ``mmres push`` has made.
        checkpoint: Its weights, a file or an address. Without one, a model by name takes
            ``checkpoints/<name>.pth`` or what is published, a repository its own.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``; by default a GPU if there is one.
        score_threshold: Lower scores are left out; by default 0.3 for detectors, 0 for
            classifiers.
        top: How many classes are listed for an image by a classifier.

    Attributes:
        network: The model, in evaluation mode.
        task: ``'classification'`` or ``'detection'``.
        classes: Names of the classes: those in the checkpoint, else those of the config's data;
            None if there are none for this number of outputs.

    Raises:
        UserError: If config, checkpoint, device or threshold are wrong, or the model does something
            else.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        score_threshold: float | None = None,
        top: int = 5,
    ) -> None:
        device = checked_device(device)
        if score_threshold is not None and math.isnan(score_threshold):
            raise UserError("--score-threshold is nan, must be a number such as 0.3")
        given = None if checkpoint is None else str(checkpoint)
        config, self.checkpoint = find_model(str(model), given)
        self.network = load_model(config, self.checkpoint).to(device)
        cfg, self.top = self.network.cfg, top
        self.task = task_of(self.network)
        self.classes = class_names(self.network)
        default = 0.3 if self.task == "detection" else 0.0
        self.score_threshold = default if score_threshold is None else score_threshold
        dataset = innermost(cfg.get("test_dataloader"))
        loader = loader_of(dataset, cfg.get("default_scope"))
        if loader is None:
            said = "its test_dataloader does not read images by LoadImageFromFile"
            raise UserError(f"{model}: {said}")
        self.loader = loader
        steps = [s for s in dataset["pipeline"] if not type_name(s).startswith("LoadImage")]
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            self.pipeline = Compose(steps)

    def __call__(self, images: Sequence[str | Path | np.ndarray]) -> list[list[dict[str, Any]]]:
        """What is on each image, the best score first.

        Args:
            images: Files, or arrays as the pipeline of the model reads them: mostly
                height×width×3 in BGR, 8 bits. They are one batch.

        Returns:
            A list per image with a dict per class or object: ``label`` (its number), ``class``
            (its name), ``score``, and of detectors ``box`` (left, top, right and bottom in pixels)
            and ``mask`` (COCO's run lengths) if there are masks.

        Raises:
            UnreadableImage: If a file cannot be decoded.
            FileNotFoundError: If it is missing.
        """
        loaded = [
            one if isinstance(one, np.ndarray) else read_image(one, self.loader) for one in images
        ]
        return [self.predictions(sample) for sample in self.samples(loaded)]

    def draw(self, image: np.ndarray, sample: Any) -> np.ndarray:
        """A copy of an image with the predictions of its data sample drawn on it, BGR, 8 bits."""
        if image.dtype != np.uint8:
            image = cv2.normalize(image, np.empty(()), 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
        image = image.reshape(*image.shape[:2], -1)
        rgb = np.ascontiguousarray(image[..., 2::-1] if image.shape[2] > 2 else image[..., [0] * 3])
        if self.task == "detection":
            visualizer = DetLocalVisualizer()
            visualizer.dataset_meta = {"classes": self.classes, "palette": "random"}
            visualizer.add_datasample(
                "", rgb, sample, draw_gt=False, pred_score_thr=self.score_threshold
            )
            drawn = visualizer.get_image()
        else:
            short, long = sorted(rgb.shape[:2])
            resize = READABLE if short < READABLE and long < 8 * short else None
            drawn = UniversalVisualizer().visualize_cls(
                rgb, sample, self.classes, draw_gt=False, resize=resize
            )
        return np.ascontiguousarray(drawn[..., ::-1])

    @torch.no_grad()
    def samples(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The model's data samples of one batch."""
        sides = [image.shape[:2] for image in images]
        items = [
            self.pipeline({"img": image, "img_shape": side, "ori_shape": side, "img_path": ""})
            for image, side in zip(images, sides, strict=True)
        ]
        return [sample.cpu() for sample in self.network.test_step(pseudo_collate(items))]

    def each(
        self, pictures: Iterable[Picture], size: int, failed: dict[Path, str]
    ) -> Iterator[tuple[Picture, Any]]:
        """Each picture with its data sample; a picture that fails is noted and left out."""
        pictures = iter(pictures)
        while batch := list(islice(pictures, size)):
            try:
                samples = self.samples([picture.image for picture in batch])
            except Exception as error:  # transforms and networks raise their own kinds
                if len(batch) == 1:
                    failed[batch[0].path] = f"{type(error).__name__}: {error}".strip()
                else:  # the others may be fine
                    yield from self.each(batch, 1, failed)
                continue
            yield from zip(batch, samples, strict=True)

    def predictions(self, sample: Any) -> list[dict[str, Any]]:
        """What a data sample says, as lists and numbers."""
        if self.task == "classification":
            scores, labels = sample.pred_score.topk(min(self.top, len(sample.pred_score)))
            columns = {"label": labels.tolist(), "score": scores.tolist()}
        else:
            found = sample.pred_instances
            columns = {"label": found.labels.tolist(), "score": found.scores.tolist()}
            columns["box"] = found.bboxes.tolist()
            if "masks" in found:
                masks = encode_mask_results(found.masks.numpy())
                columns["mask"] = [{**m, "counts": m["counts"].decode()} for m in masks]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for row in rows:
            row["class"] = self.classes[row["label"]] if self.classes else str(row["label"])
        rows = [row for row in rows if row["score"] >= self.score_threshold]
        return sorted(rows, key=lambda row: -row["score"])


def find_model(model: str, checkpoint: str | None) -> tuple[str | Path | Config, str]:
    """Config and checkpoint of a model, named as for :class:`Predictor`.

    Raises:
        UserError: If there is no checkpoint.
    """
    if model.startswith(hugging_face.HF_SCHEME):
        with user_error("model"):
            return hugging_face.fetch_config(model), checkpoint or model
    known = hub_model(model)
    config = known_configs(Path()).get(model) or (known.config.filename if known else model)
    converted = Path("checkpoints", f"{Path(config).stem}.pth")
    found = checkpoint or (str(converted) if converted.is_file() else known and known.weights)
    if not found:
        trained = sorted(Path("work_dirs", Path(config).stem).glob("*.pth"))
        hint = f": name one after the config, {shortened(trained)}" if trained else ""
        load_config(config)  # says first if it is the config that is missing
        raise UserError(f"{model} needs a checkpoint{hint}")
    return config, found


def task_of(network: nn.Module) -> str:
    """``'classification'`` or ``'detection'``.

    Raises:
        UserError: If it does something else; the message names the inferencer for that.
    """
    packages = {type(module).__module__.partition(".")[0] for module in network.modules()}
    kind = type(network).__name__
    if not packages & {"mmseg", "mmrotate"}:
        if isinstance(network, BaseClassifier):
            return "classification"
        if isinstance(network, BaseDetector) and "Panoptic" not in kind:
            return "detection"
    own = next((what for name, what in TOOLS.items() if name in packages), "in its own package")
    raise UserError(f"a {kind} gives neither classes nor upright boxes. Its inferencer is {own}")


def checked_device(device: str | None) -> str:
    """``device``, or the default; a UserError if PyTorch cannot compute on it."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # of the kind of device
        reason = str(error).partition("\n")[0]
        raise UserError(f"--device {device}: cannot be used here: {reason}") from error
    return device


def class_names(network: nn.Module) -> list[str] | None:
    """The names of the classes of a loaded model, if there are as many as it has outputs."""
    cfg = network.cfg
    dataset = innermost(cfg.get("test_dataloader"))
    kind = look_up(dataset.get("type"), DATASETS, scope_of(dataset, cfg.get("default_scope")))
    names = network.dataset_meta.get("classes") or classes_of(dataset, kind)
    outputs = {
        module.num_classes
        for name, module in network.named_modules()
        if "rpn_head" not in name and isinstance(getattr(module, "num_classes", None), int)
    }
    return None if not names or (outputs and len(names) not in outputs) else list(names)
