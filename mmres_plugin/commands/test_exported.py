"""Evaluate an exported file with the metrics of its config.

``python tools/deployment/test_exported.py CONFIG model.onnx`` prints what ``tools/test.py`` prints
for a checkpoint. With ``--checkpoint`` it evaluates that as well, and fails if they differ by more
than 0.001 AP or 0.1 points of top-1.
"""

from mmengine.config import Config

from ..checks import check
from ..deploy.exported_model import ExportedModel
from ..engine.runner import Parser, build_runner, read_config, user_errors

# By how much the metrics of file and checkpoint may differ.
ALLOWED = {"bbox_mAP": 0.001, "top1": 0.1}


def parse_args(argv: list[str] | None = None):
    parser = Parser("Evaluate an exported classifier or detector")
    parser.add_argument("file", help="ONNX file written by export_onnx.py")
    parser.add_argument("--checkpoint", help="evaluate this as well, and compare")
    parser.add_common_options()
    return parser.parse_args(argv)


def difference(ours: dict, theirs: dict) -> tuple[str, bool]:
    """The metrics side by side, and whether they differ by no more than allowed."""
    lines, good = [], True
    for name, value in theirs.items():
        allowed = ALLOWED.get(name.rpartition("/")[2])
        if allowed is not None:
            gap = abs(ours[name] - value)
            good &= gap <= allowed + 1e-9
            lines.append(f"{name}: file {ours[name]:.4f}, checkpoint {value:.4f}")
    return "\n".join(lines), good


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with user_errors():
        cfg = read_config(args, loops=("test",))
        cfg.load_from = args.checkpoint
        if not args.no_checks:
            check(cfg, "test")
        theirs = build_runner(Config(cfg.to_dict())).test() if args.checkpoint else None
        cfg.load_from = None
        model = ExportedModel(args.file, cfg)
        runner = build_runner(Config({**cfg.to_dict(), "experiment_name": "exported"}))
        runner.model = model
        ours = runner.test()
        if theirs is None:
            return 0
        text, good = difference(ours, theirs)
        print(text + ("" if good else f"\nThe difference is above {ALLOWED}."))
        return 0 if good else 1
