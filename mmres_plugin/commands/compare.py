"""Train several backbones under one recipe and compare them.

    mmres compare my_config.py --seeds 3 \\
        --backbones resnet50 sreresnet50 iresnet50 "b=EDResNet:depth=50,width_per_group=36"

Each backbone takes the place of the one in the config, a classifier's or a detector's; neck and
head follow. A rerun goes on where a killed one stopped; another machine needs results.csv for it.
The folder --out gets results.csv, results.md and results.png.
"""

import time
from pathlib import Path

from ..cli import Parser


def main(argv: list[str] | None = None) -> None:
    """Train what is not finished, and report after each training."""
    parser = Parser(__doc__, prog="mmres compare")
    add = parser.add_argument
    add("config", nargs="?", help="config file of a classifier or a detector")
    what = "names of the hub (sreresnet50), classes with their arguments (SReResNet:depth=18) or "
    what += "configs, each as NAME=… if you like; differences are relative to the first one"
    add("--backbones", nargs="+", metavar="BACKBONE", default=[], help=what)
    add("--seeds", type=int, default=3, help="trainings of each")
    what = "checkpoints to start from, with {name} and {seed} of the training in it; without, all "
    add("--weights", metavar="FILE", help=what + "start from random weights and nothing is frozen")
    add("--match", choices=["macs"], help="change the widths until all cost what the first does")
    what = "height and width of the image for which MACs are counted"
    add("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"), help=what)
    add("--metric", help="what to compare (default: accuracy/top1 or coco/bbox_mAP)")
    what = "change settings of the config"
    add("--cfg-options", nargs="+", metavar="KEY=VALUE", default=[], help=what)
    add("--out", type=Path, help="folder (default: work_dirs/compare/NAME OF THE CONFIG)")
    add("--list", action="store_true", help="list the trainings and start none")
    add("--only", type=int, metavar="INDEX", help="run this one of the list, for job arrays")
    what = "draw results.png from these files, a panel for each, and train nothing"
    add("--plot", nargs="+", type=Path, metavar="CSV", default=[], help=what)
    args = parser.parse_args(argv)
    if bool(args.plot) == bool(args.config and args.backbones):
        parser.error("give a config and --backbones, or --plot")
    if args.seeds < 1:
        parser.error(f"--seeds is {args.seeds}, must be 1 or more")
    out = args.out or Path("work_dirs/compare", Path(args.config or "plot").stem)
    from ..analysis.csv_files import read_csv
    from ..analysis.report import plot, write_report
    from ..analysis.trainings import check_all, plan, restore

    if args.plot:
        columns = ("backbone", "metric"), ("value", "macs")
        plot({path.stem: read_csv(path, *columns) for path in args.plot}, out / "results.png")
        print(f"written: {out}/results.png")
        return
    trainings = plan(args, out)
    restore(out)
    if args.list:
        for index, training in enumerate(trainings):
            print(index, training, "(finished)" if training.result else "", sep="\t")
        return
    if args.only is not None and not 0 <= args.only < len(trainings):
        parser.error(f"--only is {args.only}, must be 0 to {len(trainings) - 1}")
    chosen = trainings if args.only is None else [trainings[args.only]]
    todo = [training for training in chosen if not training.result]
    check_all(todo)
    for number, training in enumerate(todo, 1):
        now, log = time.strftime("%H:%M:%S"), f"{training.folder}.log"
        print(f"{now} {training}: training {number} of {len(todo)}, log in {log}", flush=True)
        training.run()
        write_report(trainings, args.metric, out)
    table = write_report(trainings, args.metric, out)
    print(f"\n{table}\n\nwritten: {out}/results.csv, .md and .png")
