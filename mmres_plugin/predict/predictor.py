"""A trained classifier or detector, and its predictions for images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmpretrain import ImageClassificationInferencer
from mmpretrain.apis.model import ModelHub
from mmpretrain.visualization import UniversalVisualizer

from ..checks.classes import head_outputs
from ..config import known_configs, missing_config
from ..config_parts import innermost, look_up, scope_of
from ..deploy import load_model
from ..errors import UserError, close_name, shortened, user_error
from ..hub import SCHEME, all_models, how_to_get, is_model
from ..weights.hugging_face import SCHEME as SCHEME_OF_HUB
from ..weights.repository import fetch_config
from .sources import read_image

READABLE = 224  # labels on smaller images could not be read


class Predictor:
    """Calls MMPretrain's ``ImageClassificationInferencer`` or MMDetection's ``DetInferencer``.

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
        inferencer: MMPretrain's or MMDetection's.
        task: ``'classification'`` or ``'detection'``.
        classes: Names of the classes: those in the checkpoint, else those of the config's data;
            None if there are none for this number of outputs.

    Raises:
        UserError: If config, checkpoint or device are wrong.
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
        if str(model).startswith(SCHEME_OF_HUB):
            self.config = str(model)
            self.checkpoint = str(checkpoint or model)
            with user_error("model"):
                config = fetch_config(self.config)
        else:
            config = find_config(str(model))
            self.config = str(config)
            self.checkpoint = str(checkpoint or default_checkpoint(str(model), config))
        network = load_model(config, self.checkpoint)
        cfg: Config = network.cfg  # pyright: ignore[reportAssignmentType]
        if cfg.get("test_dataloader") is None:
            raise UserError([f"{self.config} has no test_dataloader to say how to load images"])
        self.top = top
        self.classes = class_names(cfg, network.dataset_meta)  # pyright: ignore[reportArgumentType]
        self.task = "detection" if cfg.get("default_scope") == "mmdet" else "classification"
        default = 0.3 if self.task == "detection" else 0.0
        self.score_threshold = default if score_threshold is None else score_threshold
        if self.task == "detection":
            from .detection import LoadedDetector

            self.inferencer = LoadedDetector(network, device, self.classes)
        else:
            self.inferencer = ImageClassificationInferencer(
                network,  # pyright: ignore[reportArgumentType]
                device=device,
                classes=self.classes,
            )
            self.visualizer = UniversalVisualizer()

    def __call__(self, images: Sequence[str | Path | np.ndarray]) -> list[list[dict[str, Any]]]:
        """What is on each image, the best score first.

        Args:
            images: Files, or arrays of height×width×3 in BGR, 8 bits. They are one batch.

        Returns:
            A list per image with a dict per class or object: ``label`` (its number), ``class``
            (its name), ``score``, and of detectors ``box`` (left, top, right and bottom in pixels)
            and ``mask`` (COCO's run lengths) if there are masks.

        Raises:
            UserError: If a file is missing or cannot be decoded.
        """
        loaded = [i if isinstance(i, np.ndarray) else read_image(i) for i in images]
        broken = [given for given, image in zip(images, loaded, strict=True) if image is None]
        if broken:
            raise UserError([f"no image can be read from {shortened(broken)}"], "")
        return [self.predictions(sample) for sample in self.samples(loaded)]  # pyright: ignore[reportArgumentType]

    def about(self) -> dict[str, Any]:
        """What the predictions come from, for the file that has them."""
        return {
            "model": self.config,
            "checkpoint": self.checkpoint,
            "task": self.task,
            "classes": self.classes,
            "score_threshold": self.score_threshold,
        }

    def samples(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The inferencer's data samples of one batch."""
        batches = self.inferencer.preprocess(list(images), batch_size=len(images))
        # MMDetection's returns the images as well.
        inputs = [batch[1] if self.task == "detection" else batch for batch in batches]
        return [sample for batch in inputs for sample in self.inferencer.forward(batch)]

    def predictions(self, sample: Any) -> list[dict[str, Any]]:
        """What a data sample says, as lists and numbers."""
        if self.task == "detection":
            found = self.inferencer.pred2dict(sample)  # pyright: ignore[reportAttributeAccessIssue]
            keys = {"labels": "label", "scores": "score", "bboxes": "box", "masks": "mask"}
            columns = {keys[name]: values for name, values in found.items() if name in keys}
        else:
            scores, labels = sample.pred_score.cpu().topk(min(self.top, len(sample.pred_score)))
            columns = {"label": labels.tolist(), "score": scores.tolist()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for row in rows:
            row["class"] = self.classes[row["label"]] if self.classes else str(row["label"])
        rows = [row for row in rows if row["score"] >= self.score_threshold]
        return sorted(rows, key=lambda row: -row["score"])

    def draw(self, image: np.ndarray, sample: Any) -> np.ndarray:
        """A copy of a BGR image with the predictions of its data sample drawn on it."""
        rgb = image[..., ::-1]
        if self.task == "detection":
            visualizer = self.inferencer.visualizer
            visualizer.add_datasample(  # pyright: ignore[reportOptionalMemberAccess]
                "", rgb, sample, draw_gt=False, pred_score_thr=self.score_threshold
            )
            drawn = visualizer.get_image()  # pyright: ignore[reportOptionalMemberAccess]
        else:
            resize = READABLE if min(rgb.shape[:2]) < READABLE else None
            drawn = self.visualizer.visualize_cls(
                rgb, sample, self.classes, draw_gt=False, resize=resize
            )
        return np.ascontiguousarray(drawn[..., ::-1])  # pyright: ignore[reportOptionalSubscript]


def checked_device(device: str | None) -> str:
    """``device``, or the one that is taken by default.

    Raises:
        UserError: If this machine does not have it.
    """
    gpus = torch.cuda.device_count()
    if device is None:
        return "cuda" if gpus else "cpu"
    try:
        kind, index = torch.device(device).type, torch.device(device).index
    except RuntimeError as error:
        raise UserError([f"--device {device}: PyTorch knows no such device"]) from error
    if kind == "cuda" and (index or 0) >= gpus:
        raise UserError([f"--device {device}: PyTorch sees {gpus} GPUs here"])
    return device


def find_config(model: str) -> Path:
    """The config file of ``model``, which is its path or its name.

    Raises:
        UserError: If it is neither.
    """
    if model.endswith((".py", ".json", ".yml", ".yaml")):
        if not Path(model).is_file():
            raise UserError([missing_config(Path(model))])
        return Path(model)
    shipped = known_configs(Path())
    if model in shipped:
        return shipped[model]
    if model in all_models():
        return Path(ModelHub.get(model).config.filename)
    close = close_name(model, [*shipped, *all_models()])
    meant = f" Did you mean '{close}'?" if close else ""
    raise UserError(
        [f"there is no model '{model}', and configs end with .py.{meant} `mmres info` lists them"]
    )


def default_checkpoint(model: str, config: Path) -> str:
    """The checkpoint of a model of the hub when none is given.

    Raises:
        UserError: If there is none; the message says how to get one.
    """
    converted = Path("checkpoints") / f"{config.stem}.pth"
    if converted.is_file():
        return str(converted)
    known = all_models().get(model)
    published = known.weights if known else None
    if published and not published.startswith(SCHEME):
        return published
    trained = sorted(Path("work_dirs", config.stem).glob("*.pth"))
    hint = f"Name one after the config: {shortened(trained)}" if trained else ""
    if not trained and is_model(config.stem):
        hint = how_to_get(config.stem, str(converted))
    raise UserError([f"{config.stem} needs a checkpoint. {hint}".strip()])


def class_names(cfg: Config, dataset_meta: dict) -> list[str] | None:
    """The names of the classes of a trained model, if there are as many as it has outputs."""
    dataset = innermost(cfg.test_dataloader)
    kind = look_up(dataset.get("type"), DATASETS, scope_of(dataset, cfg.get("default_scope")))
    given = (dataset.get("metainfo") or {}).get("classes") or dataset.get("classes")
    if isinstance(given, str):  # a file with a name per line
        given = Path(given).read_text("utf-8").splitlines() if Path(given).is_file() else None
    known = getattr(kind, "METAINFO", {}).get("classes")
    names = dataset_meta.get("classes") or given or known
    outputs = {number for _, number in head_outputs(cfg.model)}
    return None if not names or (outputs and len(names) not in outputs) else list(names)
