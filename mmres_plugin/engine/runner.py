"""The one runner of a training or a test: its config, its hooks, and how it ends."""

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..config import load_config
from ..errors import Interrupted, UnreadableImage, UserError, place_of_code, reason_of
from ..weights.safe_loading import DropConfig
from .bad_images import NameBadImages
from .processes import end_process, is_first_on_its_machine, use_cpus
from .quiet import QuietRunner, hide_noise
from .resume import checkpoint_folders, latest_checkpoint, refuse_to_overwrite
from .signals import PatientWorkers
from .storage import storage_errors
from .validate_first import ValidateFirst
from .work_dir import only_training

PATIENCE = 20  # seconds that other processes leave the first one to report an error


def read_config(args: argparse.Namespace, loops: tuple[str, ...]) -> Config:
    """Read the config and put the options into it that training and testing share.

    Args:
        args: From the command line, with what :func:`commands.train.add_common_options` adds.
        loops: Whose data loaders to prepare: any of ``'train'``, ``'val'`` and ``'test'``.
    """
    cfg = load_config(args.config, args.cfg_options)
    hide_noise(cfg.get("default_scope"))
    cfg.launcher = args.launcher
    # torch.distributed.launch passes the rank as an option; torchrun sets the variable.
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(args.config).stem)
    for key in (f"{loop}_dataloader" for loop in loops):
        if cfg.get(key) is not None:
            cfg[key] = prepared_loader(cfg[key], cfg.get("default_scope"))
            if args.no_pin_memory:
                cfg[key].pin_memory = False
            if args.no_persistent_workers:
                cfg[key].persistent_workers = False
    return cfg


def merge_options(cfg: Config, args: argparse.Namespace) -> None:
    """Put the options of ``mmres train`` into the config."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp and cfg.get("optim_wrapper") is not None:
        gpu = torch.cuda.is_available()
        cfg.optim_wrapper.type = "AmpOptimWrapper" if gpu else "CPUAmpOptimWrapper"
        if gpu:
            cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    if args.resume == "auto" or (cfg.get("resume") and not cfg.get("load_from")):
        latest = latest_checkpoint(*checkpoint_folders(cfg))
        cfg.resume = latest is not None
        # A job that always starts with --resume still needs load_from at its first start.
        cfg.load_from = str(latest) if latest else cfg.get("load_from")
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get("auto_scale_lr") or {}, enable=True)


def prepared_loader(loader: dict, scope: str | None) -> ConfigDict:
    """A data loader's config with the defaults of its package's own tools."""
    loader = ConfigDict(loader)
    if scope == "mmpretrain":
        loader.setdefault("pin_memory", torch.cuda.is_available())
        loader.setdefault("persistent_workers", True)
        loader.setdefault("collate_fn", dict(type="default_collate"))
    if isinstance(loader.get("collate_fn"), dict):
        loader.collate_fn.pop("_scope_", None)  # MMEngine would pass it to the function
    if not loader.get("num_workers"):  # there are none to keep, and torch raises
        loader.persistent_workers = False
    return loader


def build_runner(cfg: Config) -> Runner:
    """The runner of ``cfg``, in the process group that its launcher asks for."""
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        use_cpus(cfg)
    logging.raiseExceptions = False  # a full disk is reported once, not for each line of the log
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    if checkpoint.get("type") in ("CheckpointHook", "mmengine.CheckpointHook", CheckpointHook):
        checkpoint["type"] = "SafeCheckpointHook"
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else QuietRunner.from_cfg(cfg)  # pyright: ignore[reportArgumentType]
    for hook in (NameBadImages(), DropConfig(), PatientWorkers()):
        runner.register_hook(hook)
    return runner


def register_guards(runner: Runner, hooks: Iterable[Hook]) -> None:
    """Register hooks, except those of a type that the config has already."""
    for hook in hooks:
        if not any(type(other) is type(hook) for other in runner.hooks):
            runner.register_hook(hook)


def train(cfg: Config, guards: Iterable[Hook]) -> None:
    """Train, alone in the folders that ``cfg`` writes to.

    Args:
        cfg: The config.
        guards: Hooks to add if the config does not have them.

    Raises:
        UserError: If another training is there, if the disk refuses a file, and for any error
            until the first step is done.
    """
    refuse_to_overwrite(cfg)
    with ExitStack() as locks:
        for folder in checkpoint_folders(cfg):
            locks.enter_context(only_training(folder))
        with told_start() as first, storage_errors(cfg.work_dir):
            runner = build_runner(cfg)
            register_guards(runner, [*guards, first])
            runner.train()


@contextmanager
def told_start() -> Iterator[ValidateFirst]:
    """Turn any error until a run's first step is done into one sentence; the log has all of it.

    The hook that it gives must be registered.
    """
    first = ValidateFirst()
    try:
        yield first
    except (UserError, UnreadableImage, URLError):
        raise
    except Exception as error:
        if not first.stage:
            raise
        print_log(traceback.format_exc(), logger="current", level=logging.DEBUG)
        text = f"{type(error).__name__}: {reason_of(error)} {place_of_code(error)}"
        raise UserError(f"{first.stage}: {text}", "Stopped by an error:") from error


@contextmanager
def user_errors() -> Iterator[None]:
    """End the processes of a run in order, with a message once, when the user can fix an error.

    Raises:
        UserError: In a process that is not one of several, for its caller.
    """
    try:
        try:
            yield
        except UnreadableImage as error:  # from a worker the text starts with its traceback
            text = str(error).rpartition("UnreadableImage: ")[2].strip()
            raise UserError(text, "Stopped:") from error
        except URLError as error:  # weights that cannot be fetched are other errors
            raise UserError(
                f"the data could not be downloaded ({error.reason}). Without a connection, unpack "
                "the archive in data_root of the data sets yourself"
            ) from error
    except Interrupted as error:  # launchers interrupt all processes
        if is_first_on_its_machine():
            print(f"\n{error}", file=sys.stderr, flush=True)
        end_process(error.exit_code)
    except UserError as error:
        # Most errors are found by all processes, and one message is enough. The launcher ends all
        # processes once the first of a machine has ended. One that is still alive after that time
        # is the only one with this error, and prints it.
        if not is_first_on_its_machine():
            time.sleep(PATIENCE)
        if not is_distributed():
            raise
        print(f"\nmmres: {error}", file=sys.stderr, flush=True)
        end_process(2)
