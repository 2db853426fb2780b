#!/usr/bin/env python3
"""Build data/shapes: circles, crosses, squares, stars and triangles on photographs.

    python tools/datasets/build_shapes.py [--out data/shapes] [--picture samples.png]

The layout and the options are those of ``build_digits.py``.
"""

import sys
from pathlib import Path

from build_digits import main

if __name__ == "__main__":
    sys.exit(
        main(
            kind="shapes",
            out=Path("data/shapes"),
            train_images=160,
            val_images=60,
            train_crops=500,
            val_crops=100,
        )
    )
