"""How long building a network takes, as a share of MMPretrain's ResNet-50.

    python tools/benchmarks/construction.py
    python tools/benchmarks/construction.py --networks iresnet50 configs/my_config.py

Built is the network with its random weights; ``init_weights`` and files of weights are not part of
it. All networks are built in turn, round after round, in this one process; printed are medians
with quartiles.
"""

import argparse
from functools import partial

from timing.measure import interleaved
from timing.networks import NETWORKS, build

from mmres_plugin.engine.command_line import user_errors

PEER = "mmpretrain-resnet50"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how long networks take to be built")
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), help="as in tools/benchmarks/speed.py"
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds through all networks")
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
