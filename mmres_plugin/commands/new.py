"""Write a config for your own data: mmres new my_config.py --data FOLDER_OR_FILE

The data may be in COCO's format (.json), Pascal VOC, YOLO, a folder of images per class, or a list
with one path and label per line. Where it has no validation set, a fifth of the images is drawn.
"""

import argparse
import json
from pathlib import Path
from string import Template
from typing import Any

from ..cli import Parser
from ..errors import UserError, did_you_mean, shortened, user_error

TEMPLATES = Path(__file__).parents[1] / "templates"
# The base of each detector.
DETECTORS = {
    "fcos": "mmres_plugin::_base_/fcos_1x.py",
    "faster-rcnn": "mmres_plugin::_base_/faster-rcnn_1x.py",
    "retinanet": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "atss": "mmdet::atss/atss_r50_fpn_1x_coco.py",
}
HEAD = "bbox_head=dict(num_classes={number}, in_channels={width}, feat_channels={width}),"
TWO_HEADS = """rpn_head=dict(in_channels={width}, feat_channels={width}),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels={width}),
        bbox_head=dict(num_classes={number}, in_channels={width}),
    ),"""
# Published weights that load by name. SReResNets share a ResNet's.
RESNET = {depth: f"torchvision://resnet{depth}" for depth in (18, 34, 50, 101, 152)}
RESNEXT = {50: "torchvision://resnext50_32x4d"}
WEIGHTS = {"SReResNet": RESNET, "ResNeXt": RESNEXT, "SReResNeXt": RESNEXT}
LARGEST = (1333, 800)  # pixels, to which detectors shrink images
TINY = 64  # pixels, up to which the stem does not stride


def whole_number(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres new")
    add = parser.add_argument
    add("config", type=Path, help="config file to write (.py)")
    add("--data", type=Path, required=True, help="folder, .json file or list")
    add("--backbone", default="sreresnet50", help="family and depth")
    add("--detector", default="fcos", choices=DETECTORS, help="for data with boxes")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--pretrained", action="store_true", help="start from published weights")
    start.add_argument("--from-scratch", action="store_true", help="start from random weights")
    what = "share of the channels, from random weights; half of them cost a quarter"
    add("--width", type=float, default=1.0, choices=(0.25, 0.5, 1.0), help=what)
    what = "long and short side, or one (default: the data's)"
    add("--size", type=whole_number, nargs="+", help=what)
    add("--epochs", type=whole_number, default=12, help="passes through the data")
    add("--batch-size", type=whole_number, help="images per step (default: by their size)")
    add("--seed", type=int, default=0, help="seed of the split")
    args = parser.parse_args(argv)
    from ..own_data import find_data

    if args.config.suffix != ".py":
        raise UserError(f"{args.config}: the name of a config must end with .py")
    if args.config.exists():
        raise UserError(f"{args.config} exists: choose another name, or remove it")
    with user_error(f"--data {args.data}"):
        data = find_data(args.data, args.config.with_name(f"{args.config.stem}_data"), args.seed)
    detector = args.detector if data.annotations[0].suffix == ".json" else ""
    sizes = sorted(args.size or [])
    if len(sizes) > (2 if detector else 1):
        wanted = "two numbers or one" if detector else "one number, as classifiers crop squares"
        raise UserError(f"--size {shortened(args.size)}: must be {wanted}")
    if detector:
        sizes = sizes or list(map(min, sorted(data.size), sorted(LARGEST)))
        size = (sizes[-1], sizes[0])
    else:
        size = (sizes[0] if sizes else min(224, max(data.size)),)
    batch = args.batch_size or ((2 if size[0] > 1000 else 4) if detector else 32)
    number, width = len(data.classes), round(256 * args.width)
    heads = TWO_HEADS if detector == "faster-rcnn" else HEAD
    backbone, said = choose_backbone(args, bool(detector), tiny=not detector and size[0] <= TINY)
    values = {
        **backbone,
        "base": literal(DETECTORS[args.detector]),
        "width": width,
        "heads": heads.format(number=number, width=width),
        "classes": literal(tuple(data.classes)),
        "number": number,
        "topk": (1, 5) if number > 5 else (1,),
        "size": size,
        "side": size[0],
        "edge": round(size[0] * 8 / 7),  # 256 for 224
        "batch": batch,
        "epochs": args.epochs,
        "interval": max(1, args.epochs // 10),
        "warmup": min(500, max(1, args.epochs * data.number // batch // 10)),
    }
    for part, file, images in zip(("train", "val"), data.annotations, data.images, strict=True):
        values |= {part: literal(str(file)), f"{part}_images": literal(f"{images}/")}
    template = TEMPLATES / ("detector.txt" if detector else "classifier.txt")
    with user_error(str(args.config)):
        args.config.parent.mkdir(parents=True, exist_ok=True)
        args.config.write_text(Template(template.read_text()).substitute(values), "utf-8")
    print(f"data   {data.layout}; {number} classes: {shortened(data.classes, 10)}")
    if data.alone:
        print(f"       left out, without image or without annotations: {shortened(data.alone)}")
    print(f"split  {data.split}")
    print(f"model  {f'{detector} with ' if detector else ''}{args.backbone}, {said}")
    print(f"size   {'×'.join(map(str, size))}, {batch} images per step, {args.epochs} epochs")
    last = f"work_dirs/{args.config.stem}/epoch_{args.epochs}.pth"
    print(f"\nwritten: {args.config}. Next:\n  mmres check {args.config}")
    print(f"  mmres train {args.config}")
    print(f"  mmres predict {data.images[1]} {args.config} {last}")


def choose_backbone(args: argparse.Namespace, detection: bool, tiny: bool) -> tuple[dict, str]:
    """What the templates say of the backbone, and in words what it starts from."""
    from ..models import feature_info
    from ..registry import BACKBONES
    from ..weights import read_checkpoint

    known = {name.lower(): name for name in BACKBONES}
    word = args.backbone.lower().removesuffix("-32x4d")
    name = word.rstrip("0123456789")
    if name not in known or name == word:
        said = f"must be a family and a depth, like iresnet50.{did_you_mean(name, known)}"
        raise UserError(f"--backbone {args.backbone}: {said} Families: {', '.join(known)}")
    family, depth = known[name], int(word.removeprefix(name))
    settings: dict[str, Any] = {"depth": depth}
    if args.width < 1:
        settings["stem_channels"] = settings["base_channels"] = round(64 * args.width)
    groups = round((16 if depth < 50 else 32) * args.width)
    if family.startswith("ED") and groups < 32:  # basic and narrow blocks lack channels for 32
        settings["encoder_decoder"] = {"groups": groups}
    if tiny:
        settings["cifar_stem"] = True
    with user_error(f"--backbone {args.backbone}"):
        channels = [
            one.channels for one in feature_info(family, **settings, out_indices=(0, 1, 2, 3))
        ]
    random = tiny or args.from_scratch or args.width < 1
    weights = None if random else WEIGHTS.get(family, {}).get(depth)
    said = f"from {weights or 'random weights'}"
    if args.pretrained and not weights:
        raise UserError("--pretrained: it has no weights that load by name (docs/weights.md)")
    try:
        if weights:  # fetched now, so that the training does not stop for want of them
            read_checkpoint(weights)
    except (ValueError, OSError) as error:
        if args.pretrained:
            raise UserError(f"--pretrained: {error}") from error
        weights, said = None, f"from random weights, as {weights} cannot be fetched"
    frozen = detection and weights is not None
    settings |= {"frozen_stages": 1 if frozen else -1, "norm_eval": frozen}
    settings |= {"out_indices": (0, 1, 2, 3)} if detection else {}
    settings |= {"init_cfg": {"type": "Pretrained", "checkpoint": weights}} if weights else {}
    settings = {"type": f"mmres_plugin.{family}", **settings}
    lines = "".join(f"\n        {name}={literal(value)}," for name, value in settings.items())
    values = {"backbone": lines, "channels": channels, "last_channels": channels[-1]}
    return {**values, "rate": 2e-4 if weights else 1e-3}, said


def literal(value: object) -> str:
    """A value as it is written in a config, with double quotes."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, dict)) else repr(value)
