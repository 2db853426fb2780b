"""Train a classifier or a detector: ``mmres train configs/…``."""

import argparse

from ..cli import Parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    add = parser.add_argument
    what = "folder for logs and checkpoints (default: work_dir of the config, or else "
    add("--work-dir", help=what + "work_dirs/NAME OF THE CONFIG)")
    what = 'change settings of the config, lists as key="[a,b]": model.backbone.depth=101 '
    what += "train_dataloader.batch_size=4"
    add("--cfg-options", nargs="+", metavar="KEY=VALUE", help=what)
    add("--no-pin-memory", action="store_true", help="do not pin the memory of batches")
    what = "start new data loading workers for each epoch"
    add("--no-persistent-workers", action="store_true", help=what)
    add("--no-checks", action="store_true", help="skip the checks of config and data")
    what = "what started this process, if it is one of several"
    add("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help=what)
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres train")
    add = parser.add_argument
    add("config", help="config file")
    what = "resume from this checkpoint; without a value, from the newest in the work dir"
    add("--resume", nargs="?", const="auto", help=what)
    what = "save a checkpoint before SIGTERM or Ctrl-C ends the training"
    add("--save-on-signal", action="store_true", help=what)
    add("--amp", action="store_true", help="train in mixed precision")
    add("--no-validate", action="store_true", help="train without validation")
    what = "multiply the learning rate by the total batch size, divided by "
    what += "auto_scale_lr.base_batch_size of the config"
    add("--auto-scale-lr", action="store_true", help=what)
    add_common_options(parser)
    args = parser.parse_args(argv)
    from ..checks import check
    from ..engine import AverageLossHook, EndOnSignalHook, FiniteHook
    from ..engine.processes import leave_process_group
    from ..engine.runner import merge_options, read_config, train, user_errors
    from ..engine.signals import listening

    with user_errors(), listening():
        cfg = read_config(args, loops=("train", "val"))
        merge_options(cfg, args)
        if not args.no_checks:
            check(cfg, "train")
        train(cfg, [FiniteHook(), AverageLossHook(), EndOnSignalHook(save=args.save_on_signal)])
        leave_process_group()
