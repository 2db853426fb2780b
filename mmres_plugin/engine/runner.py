"""Code that tools/train.py and tools/test.py share."""

import argparse
import atexit
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..config import load_config
from ..errors import Interrupted, UnreadableImage, UserError, did_you_mean
from .bad_images import NameBadImages
from .launchers import is_first_on_its_machine

EXIT_CODE = 2  # like argparse's, for errors that the user can fix
PATIENCE = 20  # seconds that other processes leave the first one to report an error


class Parser(argparse.ArgumentParser):
    """An argument parser with the options of both tools; it suggests names for misspelt ones."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description)
        self.add_argument("config", help="config file")

    def add_common_options(self) -> None:
        """Add the options that training and testing share, after those of the tool."""
        self.add_argument(
            "--work-dir",
            help="folder for logs and checkpoints (default: work_dir of the config, or "
            "work_dirs/<name of the config>)",
        )
        self.add_argument(
            "--cfg-options",
            nargs="+",
            action=DictAction,
            help='change settings of the config: key=value, lists as key="[a,b]", '
            "for example model.backbone.depth=101 train_dataloader.batch_size=4",
        )
        self.add_argument(
            "--no-pin-memory", action="store_true", help="do not pin the memory of batches"
        )
        self.add_argument(
            "--no-persistent-workers",
            action="store_true",
            help="start new data loading workers for each epoch",
        )
        self.add_argument(
            "--no-checks", action="store_true", help="skip the checks of config and data"
        )
        self.add_argument(
            "--launcher",
            choices=["none", "pytorch", "slurm", "mpi"],
            default="none",
            help="what started this process, if it is one of several",
        )
        # torch.distributed.launch passes the rank like this; torchrun sets the variable.
        self.add_argument("--local_rank", "--local-rank", type=int, default=0)

    def parse_args(self, args: list[str] | None = None) -> argparse.Namespace:
        """Parse the command line; errors end the program with exit code 2."""
        try:
            parsed, rest = self.parse_known_args(args)
        except ValueError:  # raised by DictAction for a word without '='
            self.error("--cfg-options takes key=value pairs, for example model.backbone.depth=18")
        except AssertionError as error:  # raised by DictAction for a bracket that is not closed
            self.error(f"--cfg-options: {error}")
        if rest:
            known = [option for action in self._actions for option in action.option_strings]
            pair = " Settings follow --cfg-options directly." if "=" in rest[0] else ""
            self.error(f"there is no option {rest[0]}.{did_you_mean(rest[0], known)}{pair}")
        os.environ.setdefault("LOCAL_RANK", str(parsed.local_rank))
        return parsed


def read_config(args: argparse.Namespace, loops: tuple[str, ...]) -> Config:
    """Read the config of ``args`` and apply the common options.

    Args:
        args: From :class:`Parser`.
        loops: Whose dataloaders to prepare: any of ``'train'``, ``'val'`` and ``'test'``.
    """
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(args.config).stem)
    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader")
        if loader is not None:
            cfg[f"{loop}_dataloader"] = prepared_loader(
                loader, cfg.get("default_scope"), args.no_pin_memory, args.no_persistent_workers
            )
    return cfg


def prepared_loader(
    loader: dict,
    scope: str | None,
    no_pin_memory: bool = False,
    no_persistent_workers: bool = False,
) -> ConfigDict:
    """A dataloader config with the options and the defaults of its package's own tools."""
    loader = ConfigDict(loader)
    if scope == "mmpretrain":
        loader.setdefault("pin_memory", torch.cuda.is_available())
        loader.setdefault("persistent_workers", True)
        loader.setdefault("collate_fn", dict(type="default_collate"))
    if no_pin_memory:
        loader.pin_memory = False
    # Without workers there are none to keep, and torch raises.
    if no_persistent_workers or not loader.get("num_workers"):
        loader.persistent_workers = False
    return loader


def build_runner(cfg: Config, datasets: Mapping[str, object] | None = None) -> Runner:
    """The runner of ``cfg``, in the process group that its launcher asks for.

    Args:
        cfg: The config.
        datasets: Data sets by loop that the checks have built, so they are not built twice.
    """
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        use_cpus(cfg)
    logging.raiseExceptions = False  # a full disk is reported once, not for each line of the log
    use_safe_checkpoints(cfg)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)  # pyright: ignore[reportArgumentType]
    for loop, dataset in (datasets or {}).items():
        getattr(runner, f"_{loop}_dataloader")["dataset"] = dataset
    runner.register_hook(NameBadImages())
    return runner


def use_safe_checkpoints(cfg: Config) -> None:
    """Replace MMEngine's plain checkpoint hook, if the config has it, with ours."""
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    if hook.get("type") in ("CheckpointHook", "mmengine.CheckpointHook", CheckpointHook):
        hook["type"] = "SafeCheckpointHook"


def register_guards(runner: Runner, hooks: Iterable[Hook]) -> None:
    """Register hooks, except those of a type that the config has already."""
    for hook in hooks:
        if not any(type(other) is type(hook) for other in runner.hooks):
            runner.register_hook(hook)


def use_cpus(cfg: Config) -> None:
    """Let several processes run without GPUs; mmengine would give each of them one."""
    torch.distributed.init_process_group("gloo")
    if cfg.get("model_wrapper_cfg") is None:
        cfg.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        )


def leave_process_group() -> None:
    """Wait for the other processes and close their group, at the end of a run.

    A launcher stops all processes when one of them fails, and a process that ends with its group
    open while the first one still evaluates may fail.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        end_process(0)


def end_process(code: int) -> None:
    """End the process with this exit code.

    Once a model has been wrapped, PyTorch keeps gloo's threads alive, even after the group is
    destroyed. Such a thread, running while Python shuts down, aborts the process ("terminate called
    without an active exception"). So with gloo the exit functions run, and the shutdown does not.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed:
        sys.exit(code)
    gloo = torch.distributed.get_backend() == "gloo"
    if not code:  # else other processes may be gone, and this one would wait for them
        torch.distributed.destroy_process_group()
    if gloo or code:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def user_errors() -> Iterator[None]:
    """End the program with a message and exit code 2, no traceback, when the user can fix it."""
    code = EXIT_CODE
    try:
        yield
    except Interrupted as error:  # launchers interrupt all processes
        message = str(error) if is_first_on_its_machine() else ""
        code = error.exit_code
    except UserError as error:
        message = str(error)
        # Most errors are found by all processes, and one message is enough. The launcher ends all
        # processes once the first of a machine has ended. One that is still alive after that time
        # is the only one with this error, and prints it.
        if not is_first_on_its_machine():
            time.sleep(PATIENCE)
    except UnreadableImage as error:  # from a worker process the text starts with its traceback
        message = "Stopped: " + str(error).rpartition("UnreadableImage: ")[2].strip()
    except URLError as error:  # weights that cannot be fetched are other errors
        message = (
            f"Stopped: the data could not be downloaded ({error.reason}). Without a connection, "
            "unpack the archive in data_root of the data sets yourself"
        )
    else:
        return
    if message:
        print(f"\n{message}", file=sys.stderr, flush=True)
    end_process(code)
