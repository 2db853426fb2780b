"""Evaluate a checkpoint or an exported file with the metrics of its config.

mmres test CONFIG work_dirs/…/epoch_12.pth
mmres test CONFIG model.onnx
"""

import argparse
from copy import deepcopy
from typing import TYPE_CHECKING

from ..cli import Parser
from ..errors import UserError
from .train import add_common_options

if TYPE_CHECKING:
    from mmengine.config import Config

OUT_SUFFIXES = {"pred": (".pkl", ".pickle"), "metrics": (".json", ".yaml", ".yml", ".pkl")}


def show_predictions(cfg: "Config", args: argparse.Namespace) -> None:
    """Switch on the visualization hook, which has other arguments in each package."""
    hook = (cfg.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise UserError(
            "--show and --show-dir need a visualization hook in default_hooks of the config."
        )
    if args.tta and cfg.get("default_scope") == "mmpretrain":
        raise UserError(
            "--tta: classifiers draw no pictures with it. Drop it, or --show and --show-dir."
        )
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    if cfg.get("default_scope") == "mmdet":
        hook.update(draw=True, test_out_dir=args.show_dir)
    else:
        hook.update(enable=True, out_dir=args.show_dir)


def augment(cfg: "Config") -> None:
    """Wrap model and pipeline for test-time augmentation."""
    from mmengine.config import ConfigDict

    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    detection = cfg.get("default_scope") == "mmdet"
    if "tta_model" not in cfg:
        cfg.tta_model = dict(type="mmpretrain.AverageClsScoreTTA")
        if detection:
            nms = dict(nms=dict(type="nms", iou_threshold=0.5), max_per_img=100)
            cfg.tta_model = dict(type="DetTTAModel", tta_cfg=nms)
    if "tta_pipeline" not in cfg:
        pack = deepcopy(dataset.pipeline[-1])
        if detection:  # boxes are mirrored back from these keys
            default = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
            keys = pack.get("meta_keys", default)
            pack.meta_keys = (*keys, "flip", "flip_direction")
        flips = [dict(type="RandomFlip", prob=prob) for prob in (1.0, 0.0)]
        both = dict(type="TestTimeAug", transforms=[flips, [pack]])
        cfg.tta_pipeline = [*dataset.pipeline[:-1], both]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres test")
    add = parser.add_argument
    add("config", help="config file")
    add("checkpoint", help="checkpoint, or exported file that ends with .onnx")
    add("--out", help="write the predictions, or the metrics, to this file")
    what = "content of --out: predictions (.pkl) or metrics (.json, .yaml or .pkl)"
    add("--out-item", choices=list(OUT_SUFFIXES), default="pred", help=what)
    add("--amp", action="store_true", help="run the model in mixed precision")
    add("--show", action="store_true", help="show the predictions in a window")
    add("--show-dir", help="save pictures of the predictions in this folder")
    add("--interval", type=int, default=1, help="show every n-th image")
    add("--wait-time", type=float, default=2, help="seconds that each window stays open")
    what = "average over augmented images, as in tta_model and tta_pipeline of the config, or "
    add("--tta", action="store_true", help=what + "else over flips")
    add_common_options(parser)
    args = parser.parse_args(argv)
    if args.out and not args.out.endswith(OUT_SUFFIXES[args.out_item]):
        allowed = ", ".join(OUT_SUFFIXES[args.out_item])
        raise UserError(f"--out {args.out}: --out-item {args.out_item} writes {allowed}")
    exported = args.checkpoint.endswith(".onnx")
    if exported and (args.tta or args.amp):
        raise UserError(f"{args.checkpoint} is run as it was exported: drop --tta and --amp")
    import mmengine
    from mmengine.config import Config
    from mmengine.registry import METRICS

    from ..checks import check
    from ..deploy.exported_model import ExportedModel
    from ..engine.processes import leave_process_group
    from ..engine.runner import build_runner, read_config, told_start, user_errors
    from ..engine.signals import listening

    with user_errors(), listening():
        cfg = read_config(args, loops=("test",))
        cfg.load_from = None if exported else args.checkpoint
        if args.show or args.show_dir:
            show_predictions(cfg, args)
        if not args.no_checks:
            check(cfg, "test")
        if args.amp:
            cfg.test_cfg.fp16 = True
        if args.tta:
            augment(cfg)
        # Without the file's name, so that the runner does not write over the training's config.
        with told_start() as first:
            runner = build_runner(Config(cfg.to_dict()))
            runner.register_hook(first)
            if exported:
                runner.model = ExportedModel(args.checkpoint)
            if args.out and args.out_item == "pred":
                detects = cfg.get("default_scope") == "mmdet"
                kind = "mmdet.DumpDetResults" if detects else "DumpResults"
                dump = METRICS.build(dict(type=kind, out_file_path=args.out))
                runner.test_evaluator.metrics.append(dump)
            metrics = runner.test()
        if args.out and args.out_item == "metrics":
            mmengine.dump(metrics, args.out)
        leave_process_group()
