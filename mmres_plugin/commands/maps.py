"""Draw what happens inside a trained model, as one picture for a slide.

    python tools/visualization/feature_maps.py recursion CONFIG CHECKPOINT IMAGE --stage 3
    python tools/visualization/feature_maps.py encoder-decoder CONFIG CHECKPOINT IMAGE --block 2.1
    python tools/visualization/feature_maps.py excitation CONFIG CHECKPOINT FOLDER
    python tools/visualization/feature_maps.py cam CONFIG CHECKPOINT IMAGE --classes cat dog

``recursion`` shows maps of a stage after each of its passes (SReResNet); ``encoder-decoder`` the
summands of a block (ED-Net); ``excitation`` the gates of SE layers, a curve for each class, whose
images lie in a folder of its name (a single image will do); ``cam`` where a classifier or a
detector looks (Grad-CAM).
"""

import argparse
import functools
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from mmdet.models.dense_heads import base_dense_head
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..analysis.panels import MAX_COLUMNS, Panel, Rows, draw
from ..deploy import load_model
from ..deploy.output import prepare_output
from ..errors import UserError, did_you_mean, shortened
from ..models.block import ResidualBlock
from ..models.shortcut import EncoderDecoder
from ..models.stage import Stage
from ..predict.predictor import class_names

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class Input(NamedTuple):
    """An image as the model gets it.

    Attributes:
        picture: RGB, H×W×3, uint8, before it is normalised and padded.
        tensor: 1×3×H'×W'.
        samples: What the model wants to know about it.
    """

    picture: np.ndarray
    tensor: Tensor
    samples: list


def read_image(model: nn.Module, path: Path) -> Input:
    """Read an image with the test pipeline of the model's config.

    Raises:
        UserError: If it cannot be read.
    """
    steps = model.cfg.test_dataloader.dataset.pipeline
    steps = [step for step in steps if "LoadAnnotations" not in str(step["type"])]
    with DefaultScope.overwrite_default_scope(model.cfg.get("default_scope")):
        pipeline = Compose(steps)
    try:
        packed = pipeline({"img_path": str(path), "img_id": 0})
    except Exception as error:  # each decoder raises its own kinds
        raise UserError([f"the image {path} cannot be read: {error}"]) from error
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    picture = packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]
    return Input(picture, data["inputs"], data["data_samples"])


@torch.no_grad()
def record(model: nn.Module, modules: dict[str, nn.Module], images: Tensor) -> dict[str, list]:
    """What each module returns in a pass of the backbone, once for each time that it runs."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in modules}
    handles = [
        # Cloned, since blocks add their shortcut in place.
        module.register_forward_hook(lambda *args, kept=outputs[name]: kept.append(args[2].clone()))
        for name, module in modules.items()
    ]
    try:
        model.backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def rows_of_maps(maps: dict[str, Tensor], picture: np.ndarray, columns: int) -> Rows:
    """A row per tensor, 1×C×H×W: the mean of its channels, and those that vary most in the first.

    A column shows one channel, in one range of colours.
    """
    first = next(iter(maps.values()))[0]
    channels = first.flatten(1).std(1).topk(min(columns, len(first))).indices.tolist()
    titles = ["mean of channels", *(f"channel {channel}" for channel in channels)]
    tables = [torch.stack([m[0].mean(0), *m[0][channels]]) for m in maps.values()]
    low, high = (f(torch.stack(tables), (0, 2, 3)).tolist() for f in (torch.amin, torch.amax))
    rows = []
    for label, table in zip(maps, tables, strict=True):
        image = [Panel(None) if rows else Panel(picture, "image")]
        captions = [""] * len(titles) if rows else titles
        panels = map(Panel, table.numpy(), captions, zip(low, high, strict=True))
        rows.append((label, [*image, *panels]))
    return rows


def recursion(model: nn.Module, args: argparse.Namespace) -> Rows:
    """Maps of a stage after each pass."""
    name = f"layer{args.stage}"
    stages = {n: m for n, m in model.backbone.named_children() if getattr(m, "recursions", 0)}
    if name not in stages:
        known = ", ".join(n.removeprefix("layer") for n in stages) or "there is none"
        raise UserError([f"--stage is {args.stage}, must be a stage that runs twice: {known}"])
    image = read_image(model, args.image)
    passes = record(model, {name: stages[name][-1]}, image.tensor)[name]
    maps = {f"{name}, pass {number}": found for number, found in enumerate(passes, 1)}
    return rows_of_maps(maps, image.picture, args.columns)


def encoder_decoder(model: nn.Module, args: argparse.Namespace) -> Rows:
    """The summands of a block, and its output."""
    blocks = {
        name.removeprefix("layer"): module
        for name, module in model.backbone.named_modules()
        if isinstance(module, ResidualBlock) and isinstance(module.downsample, EncoderDecoder)
    }
    if args.block not in blocks:
        known = shortened(list(blocks), 20) or "there is none"
        said = f"must be a block with an encoder-decoder: {known}"
        raise UserError([f"--block is {args.block}, {said}"])
    block = blocks[args.block]
    parts = {
        "branch": block.drop_path,
        "projection p": block.downsample.projection,
        "decoder(encoder(p))": block.downsample.decoder_norm,
        f"block {args.block}": block,
    }
    image = read_image(model, args.image)
    outputs = record(model, parts, image.tensor)
    return rows_of_maps({n: found[0] for n, found in outputs.items()}, image.picture, args.columns)


def excitation(model: nn.Module, args: argparse.Namespace) -> Rows:
    """The gates of the last block of each stage: a curve per class, the mean over its images."""
    gates = {
        f"{name}.{len(stage) - 1}": stage[-1].se_layer.conv2
        for name, stage in model.backbone.named_children()
        if isinstance(stage, Stage) and stage[-1].se_layer is not None
    }
    if not gates:
        raise UserError(
            ["excitation: the model has no SE layers; SEResNet and SEResNeXt have them"]
        )
    curves: dict[str, dict[str, np.ndarray]] = {name: {} for name in gates}
    for label, paths in images_by_class(args.image, args.images).items():
        outputs = [record(model, gates, read_image(model, path).tensor) for path in paths]
        for name in gates:
            curves[name][label] = torch.cat([o[name][-1] for o in outputs]).mean((0, 2, 3)).numpy()
    panels = [Panel(curves[name], f"block {name.removeprefix('layer')}") for name in gates]
    return [("excitation", panels[:2]), *([("excitation", panels[2:])] if panels[2:] else [])]


def images_by_class(path: Path, most: int) -> dict[str, list[Path]]:
    """The first images of each folder in ``path``, those of ``path`` itself, or the one file.

    Raises:
        UserError: If there are none.
    """
    if path.is_file():
        return {path.name: [path]}
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) or [path]
    found = {
        folder.name: sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        for folder in folders
    }
    if not any(found.values()):
        raise UserError([f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})"])
    return {label: paths[:most] for label, paths in found.items() if paths}


class ClassScores(nn.Module):
    """A score per class: a classifier's logits, or the sum over a detector's detections."""

    def __init__(self, model: nn.Module, samples: list) -> None:
        super().__init__()
        self.model, self.samples = model, samples
        self.classes = class_names(model)

    def forward(self, images: Tensor) -> Tensor:
        """1×3×H×W to 1×classes."""
        if hasattr(self.model, "head"):
            return self.model(images, mode="tensor")
        # MMDetection's heads would cut the scores from the graph.
        attached = functools.partial(base_dense_head.select_single_mlvl, detach=False)
        with patch.object(base_dense_head, "select_single_mlvl", lambda *a, **_: attached(*a)):
            found = self.model.predict(images, self.samples, rescale=False)[0].pred_instances
        number = len(self.classes or ()) or max([0, *found.labels.tolist()]) + 1
        return images.new_zeros(number).index_add(0, found.labels, found.scores)[None]


def cam(model: nn.Module, args: argparse.Namespace) -> Rows:
    """Grad-CAM of the given classes, or of those with the highest scores."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layers = dict(model.named_modules())
    if args.layer not in layers:
        hint = did_you_mean(args.layer, layers)
        raise UserError([f"--layer is {args.layer}, must be a layer of the model.{hint}"])
    image = read_image(model, args.image)
    scores = ClassScores(model, image.samples)
    image.tensor.requires_grad_()  # so that gradients pass frozen layers
    values = scores(image.tensor)[0]
    if not values.any():
        raise UserError([f"the detector finds nothing in {args.image}"])
    if not values.requires_grad:
        raise UserError([f"cam: the scores of a {type(model).__name__} pass no gradients back"])
    names = scores.classes or [str(index) for index in range(len(values))]
    highest = values.topk(min(args.columns, len(values))).indices
    wanted = args.classes or [names[index] for index in highest]
    height, width = image.picture.shape[:2]
    panels = [Panel(image.picture, "image")]
    with GradCAM(scores, [layers[args.layer]]) as grad_cam:
        for name in wanted:
            if name not in names:
                known = shortened(names, 20)
                raise UserError([f"--classes: the model has no class {name!r}; it has {known}"])
            index = names.index(name)
            if values[index] == 0 and not hasattr(model, "head"):
                if args.classes:
                    raise UserError([f"--classes: no {name!r} is detected in {args.image}"])
                continue
            heat = grad_cam(image.tensor, [ClassifierOutputTarget(index)])[0, :height, :width]
            overlay = show_cam_on_image(image.picture / np.float32(255), heat, use_rgb=True)
            panels.append(Panel(overlay, f"{name}: score {values[index]:.2f}"))
    return [(args.layer, panels)]


KINDS = {
    "recursion": recursion,
    "encoder-decoder": encoder_decoder,
    "excitation": excitation,
    "cam": cam,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=list(KINDS), help="what to draw")
    parser.add_argument("config", help="config of a classifier or a detector")
    parser.add_argument("checkpoint", help="its checkpoint, or 'none' for random weights")
    parser.add_argument("image", type=Path, help="an image; for excitation also a folder")
    parser.add_argument("--stage", type=int, default=3, help="recursion: the stage, from 1")
    parser.add_argument(
        "--block", default="2.0", help="encoder-decoder: STAGE.BLOCK, as in layer2.0"
    )
    parser.add_argument("--images", type=int, default=20, help="excitation: images of each class")
    parser.add_argument("--classes", nargs="+", help="cam: names (default: the highest scores)")
    parser.add_argument("--layer", default="backbone.layer3", help="cam: the layer to look at")
    parser.add_argument("--columns", type=int, default=5, help="channels or classes shown at most")
    parser.add_argument("--out", type=Path, default=Path("feature_maps.png"), help="PNG to write")
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error(f"--images is {args.images}, must be 1 or more")
    if not 1 <= args.columns <= MAX_COLUMNS or len(args.classes or ()) > MAX_COLUMNS:
        parser.error(f"--columns and --classes allow 1 to {MAX_COLUMNS} panels")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.out.suffix != ".png":
        raise UserError([f"--out: {args.out} must end in .png"])
    if not args.image.exists() or (args.image.is_dir() and args.kind != "excitation"):
        raise UserError([f"there is no image {args.image}"])
    prepare_output(args.out)
    model = load_model(args.config, None if args.checkpoint == "none" else args.checkpoint)
    rows = KINDS[args.kind](model, args)
    draw(rows, f"{args.kind}: {Path(args.config).stem}, {args.image.name}", args.out)
    print(f"written: {args.out}")
