"""Train a classifier or a detector: ``python tools/train.py configs/…``."""

from pathlib import Path

import torch
from mmengine.config import Config

from ..checks import check
from ..engine import AverageLossHook, EndOnSignalHook, FiniteHook
from ..engine.amp import computes_bfloat16
from ..engine.resume import latest_checkpoint
from ..engine.runner import (
    Parser,
    build_runner,
    leave_process_group,
    read_config,
    register_guards,
    user_errors,
)
from ..engine.storage import storage_errors
from ..engine.work_dir import only_training

SLOW_AMP = (
    "--amp: this CPU has no instructions for bfloat16, so a step may take many times as long as "
    "without --amp."
)


def parse_args(argv: list[str] | None = None):
    parser = Parser("Train a classifier or a detector")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="resume from this checkpoint, or without a value from the latest in the work dir",
    )
    parser.add_argument(
        "--save-on-signal",
        action="store_true",
        help="save a checkpoint before SIGTERM or Ctrl-C ends the training",
    )
    parser.add_argument(
        "--skip-non-finite",
        action="store_true",
        help="leave out any number of steps whose loss or gradient is not finite, "
        "instead of ending after three in a row",
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
    return parser.parse_args(argv)


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
            if not computes_bfloat16():
                print(SLOW_AMP)
    if args.resume == "auto" or (cfg.get("resume") and not cfg.get("load_from")):
        latest = latest_checkpoint(Path(cfg.work_dir))
        cfg.resume = latest is not None
        # A job that always starts with --resume still needs load_from at its first start.
        cfg.load_from = str(latest) if latest else cfg.get("load_from")
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get("auto_scale_lr") or {}, enable=True)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with user_errors():
        cfg = read_config(args, loops=("train", "val"))
        merge_options(cfg, args)
        datasets = {} if args.no_checks else check(cfg, "train")
        with only_training(cfg.work_dir), storage_errors(cfg.work_dir):
            runner = build_runner(cfg, datasets)
            register_guards(
                runner,
                [
                    FiniteHook(stop_after=0) if args.skip_non_finite else FiniteHook(),
                    AverageLossHook(),
                    EndOnSignalHook(save=args.save_on_signal),
                ],
            )
            runner.train()
        leave_process_group()
