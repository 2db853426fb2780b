"""Measure how long it takes to build a network, compared with MMPretrain's ResNet-50.

    python tools/benchmarks/construction.py
    python tools/benchmarks/construction.py --networks iresnet50 configs/my_config.py

A build includes the random weights, but neither ``init_weights`` nor loading a file. All networks
take turns in one process; the command prints medians with quartiles.
"""

import argparse
from functools import partial

from timing.measure import interleaved
from timing.networks import NETWORKS, build

from mmres_plugin.engine.command_line import user_errors

PEER = "mmpretrain-resnet50"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how long it takes to build a network")
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), help="as in tools/benchmarks/speed.py"
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often each network is built")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    names = dict.fromkeys([PEER, *args.networks])  # each once, the peer first
    times = interleaved({name: partial(build, name) for name in names}, args.rounds)
    print(f"| network | ms (quartiles) | of {PEER} |\n| --- | --: | --: |")
    for name, ms in times.items():
        share = ms.median / times[PEER].median
        print(f"| {name} | {ms.median:.1f} ({ms.low:.1f}–{ms.high:.1f}) | {share:.2f} |")


if __name__ == "__main__":
    with user_errors():
        main()
