"""Train a classifier or a detector: ``python tools/train.py configs/…``."""

from pathlib import Path

import torch
from mmengine.config import Config

import mmres_plugin  # noqa: F401  the names of the plugin, before a config is read
from mmres_plugin.engine.command_line import (
    Parser,
    build_runner,
    leave_process_group,
    read_config,
    user_errors,
)
from mmres_plugin.preflight import check
from mmres_plugin.preflight.checkpoints import latest_checkpoint


def parse_args():
    parser = Parser("Train a classifier or a detector")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="resume from this checkpoint, or without a value from the latest in the work dir",
    )
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument("--no-validate", action="store_true", help="train without validation")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="multiply the learning rate by the total batch size, divided by "
        "auto_scale_lr.base_batch_size of the config",
    )
    parser.add_common_options()
    return parser.parse_args()


def merge_options(cfg: Config, args) -> None:
    """Put the options into the config."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp and cfg.get("optim_wrapper") is not None:
        if torch.cuda.is_available():
            cfg.optim_wrapper.type = "AmpOptimWrapper"
            cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
        else:
            cfg.optim_wrapper.type = "CPUAmpOptimWrapper"
    if args.resume:
        latest = args.resume == "auto"
        # A job that always starts with --resume still needs load_from at its first start.
        if not latest or latest_checkpoint(Path(cfg.work_dir)):
            cfg.resume = True
            cfg.load_from = None if latest else args.resume
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get("auto_scale_lr") or {}, enable=True)


def main() -> None:
    args = parse_args()
    with user_errors():
        cfg = read_config(args, loops=("train", "val"))
        merge_options(cfg, args)
        datasets = {} if args.no_checks else check(cfg, "train")
        build_runner(cfg, datasets).train()
        leave_process_group()


if __name__ == "__main__":
    main()
