"""What happens inside a trained model: rows of panels, and the picture of them.

A row is a label and its panels, each a title and a map, H×W, an image, H×W×3, or a curve of gates.
What cannot be drawn is a :class:`~mmres_plugin.errors.UserError`.
"""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOptionalSubscript=false

from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..errors import UserError, did_you_mean, shortened
from ..images import SUFFIXES
from ..models.stage import Stage
from ..weights.files import atomic_write

PanelRows = list[tuple[str, list[tuple[str, np.ndarray]]]]


def read_input(model: nn.Module, path: Path) -> tuple[np.ndarray, Tensor, list]:
    """Read an image with the test pipeline of the model's config.

    Returns:
        The picture (RGB, H×W×3, uint8, resized), the model's input (1×3×H'×W'), and what the model
        wants to know about it.
    """
    if path.is_dir() or mmcv.imread(path) is None:
        raise UserError(f"the image {path} cannot be read")
    steps = model.cfg.test_dataloader.dataset.pipeline
    steps = [step for step in steps if "LoadAnnotations" not in str(step["type"])]
    with DefaultScope.overwrite_default_scope(model.cfg.get("default_scope")):
        packed = Compose(steps)({"img_path": str(path), "img_id": 0})
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    picture = packed["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]
    return picture, data["inputs"], data["data_samples"]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The layer of this name."""
    layers = dict(model.named_modules())
    if name not in layers:
        raise UserError(f"--layers: the model has no {name}.{did_you_mean(name, layers)}")
    return layers[name]


def record(model: nn.Module, layers: dict[str, nn.Module], images: Tensor) -> dict[str, list]:
    """What each layer returns in a pass of the backbone, once for each time that it runs."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    handles = [
        # Cloned, since blocks add their shortcut in place.
        layer.register_forward_hook(lambda *args, kept=outputs[name]: kept.append(args[2].clone()))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        model.backbone(images)
    for handle in handles:
        handle.remove()
    return outputs


def layer_maps(model: nn.Module, path: Path, layers: list[str], columns: int) -> PanelRows:
    """A row for each time that a layer runs: the mean of its channels, and the liveliest ones."""
    picture, images, _ = read_input(model, path)
    outputs = record(model, {name: find_layer(model, name) for name in layers}, images)
    rows: PanelRows = []
    chosen: dict[int, Tensor] = {}  # the same channels wherever there are as many
    for name, passes in outputs.items():
        for number, output in enumerate(passes, 1):
            if output.ndim != 4:
                raise UserError(f"--layers: {name} returns no maps")
            liveliest = output[0].flatten(1).std(1).topk(min(columns, output.shape[1])).indices
            channels = chosen.setdefault(output.shape[1], liveliest)
            label = f"{name}, pass {number}" if len(passes) > 1 else name
            panels = [(f"channel {i}", output[0, i].numpy()) for i in channels]
            mean = ("mean of channels", output[0].mean(0).numpy())
            rows.append((label, [("image", picture), mean, *panels]))
    if not rows:
        raise UserError(f"--layers: {', '.join(layers)} are no part of the backbone")
    return rows


def excitation(model: nn.Module, folder: Path, images: int) -> PanelRows:
    """The gates of the last block of each stage: a row per class, the mean over its images.

    Args:
        model: With SE layers.
        folder: Has a folder of images for each class; or images, or is one.
        images: How many of each class are taken.
    """
    gates = {
        f"{name.removeprefix('layer')}.{len(stage) - 1}": stage[-1].se_layer.conv2
        for name, stage in model.backbone.named_children()
        if isinstance(stage, Stage) and stage[-1].se_layer is not None
    }
    if not gates:
        raise UserError("excitation: the model has no SE layers; SEResNet and SEResNeXt have")
    rows = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir()) or [folder]:
        files = [place] if place.is_file() else sorted(place.iterdir())
        files = [path for path in files if path.suffix.lower() in SUFFIXES][:images]
        if files:
            found = [record(model, gates, read_input(model, path)[1]) for path in files]
            means = {n: torch.cat([f[n][-1] for f in found]).mean((0, 2, 3)) for n in gates}
            rows.append((place.name, [(f"block {n}", mean.numpy()) for n, mean in means.items()]))
    if not rows:
        raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return rows


def class_scores(model: nn.Module, images: Tensor, samples: list) -> Tensor:
    """A score per class: a classifier's logits, or the highest of a detector's."""
    if hasattr(model, "head"):
        return model(images, mode="tensor")[0]
    if hasattr(model, "roi_head"):
        found = model.predict(images, samples, rescale=False)[0].pred_instances
        scores = found.scores.new_zeros(model.roi_head.bbox_head.num_classes)
        return scores.scatter_reduce(0, found.labels, found.scores, "amax")
    maps, *_ = model(images, samples, mode="tensor")
    number = getattr(model.bbox_head, "cls_out_channels", 0)
    if not isinstance(maps, list | tuple) or any(m.ndim != 4 or m.shape[1] % number for m in maps):
        raise UserError(f"cam: the scores of a {type(model).__name__} are not maps of classes")
    return torch.cat([m.view(-1, number, m[0, 0].numel()) for m in maps], -1).sigmoid().amax((0, 2))


def cam(model: nn.Module, path: Path, layer: str, classes: list[str], columns: int) -> PanelRows:
    """Where the model looks for the given classes, or those with the highest scores: Grad-CAM."""
    import matplotlib

    picture, images, samples = read_input(model, path)
    maps: list[Tensor] = []
    with find_layer(model, layer).register_forward_hook(lambda *args: maps.append(args[2])):
        scores = class_scores(model, images.requires_grad_(), samples)  # past frozen layers, too
    names = list(model.dataset_meta.get("classes") or map(str, range(len(scores))))
    panels = [("image", picture)]
    for name in classes or [names[i] for i in scores.topk(min(columns, len(scores))).indices]:
        if name not in names:
            raise UserError(f"--classes: there is no {name!r}, only {shortened(names, 20)}")
        score = scores[names.index(name)]
        (gradient,) = torch.autograd.grad(score, maps[-1], retain_graph=True)
        heat = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True).relu()
        heat = nn.functional.interpolate(heat, images.shape[2:], mode="bilinear")[0, 0]
        heat = (heat / heat.max().clamp(min=1e-12))[: len(picture), : picture.shape[1]]
        heat = matplotlib.colormaps["jet"](heat.detach().numpy())[..., :3]
        panels.append((f"{name}: {score:.2f}", (picture / 255 + heat) / 2))
    return [(layer, panels)]


def draw(rows: PanelRows, title: str, path: Path) -> None:
    """Draw the rows into a PNG file; all maps of a column have the same range of colours."""
    from matplotlib.figure import Figure

    columns = max(len(panels) for _, panels in rows)
    curves = rows[0][1][0][1].ndim == 1
    size = (3.2 * columns, 1 + 1.1 * len(rows)) if curves else (2 * columns, 0.6 + 2.1 * len(rows))
    figure = Figure(size, layout="constrained")
    share = "col" if curves else False
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex=share, sharey=curves)
    for axis in axes.flat:
        axis.set_axis_off()
    for (label, panels), line in zip(rows, axes, strict=True):
        line[0].set_ylabel(label, fontsize=9)
        for column, ((name, content), axis) in enumerate(zip(panels, line, strict=False)):
            others = [panels[column][1] for _, panels in rows if column < len(panels)]
            axis.set_axis_on()
            axis.set_title(name if label == rows[0][0] or not curves else "", fontsize=9)
            if curves:
                axis.plot(np.mean(others, 0), color="0.7", lw=0.8)
                axis.plot(content, lw=0.8)
            else:
                low, high = min(map(np.min, others)), max(map(np.max, others))
                axis.imshow(content, vmin=low, vmax=high, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
    figure.suptitle(title, fontsize=10)
    if curves:
        figure.supxlabel("channel (blue: the class, grey: all classes)", fontsize=9)
        figure.supylabel("gate, 0 to 1", fontsize=9)
    with atomic_write(path) as half:
        figure.savefig(half, dpi=110, format="png")
