"""Where published weights come from, and how their tensors are named there.

A source is a set of ordered rows ``(pattern, replacement)``; each row is applied with
:func:`re.sub` to the name that the rows before it left. The result is a name of MMPretrain's
classifiers: ``backbone.…`` or ``head.…``. A replacement of None drops the tensors whose names the
pattern is found in. The prefixes of DataParallel and torch.compile are taken off before.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import shortened

Renames = tuple[tuple[str, str | None], ...]
WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")


class Source(NamedTuple):
    """One naming of tensors.

    Attributes:
        title: Whose weights these are.
        marks: Patterns that each must be found in some name, for a file to be recognised.
        rows: The rules, in order.
        absent: Patterns that must be found in none.
        note: What to know about these weights that their names do not tell.
        without_eps: Whether its norms divide by the root of the variance alone.
    """

    title: str
    marks: tuple[str, ...]
    rows: Renames
    absent: tuple[str, ...] = ()
    note: str = ""
    without_eps: bool = False


TORCHVISION: Renames = (
    # timm's SE, and its ECA, ours by plugins=[dict(cfg=dict(type="mmres_plugin.ECA"), …)].
    (r"\.se\.fc([12])\.", r".se_layer.conv\1.conv."),
    (r"\.se\.conv\.", ".eca.conv."),
    # A deep stem is conv, norm and activation three times in one Sequential, in MMPretrain three
    # modules.
    (r"\bstem\.0\.weight$", "stem.0.conv.weight"),
    (r"\bstem\.3\.weight$", "stem.1.conv.weight"),
    (r"\bstem\.6\.weight$", "stem.2.conv.weight"),
    (r"\bstem\.1\.(\w+)$", r"stem.0.bn.\1"),
    (r"\bstem\.4\.(\w+)$", r"stem.1.bn.\1"),
    (r"\bstem\.7\.(\w+)$", r"stem.2.bn.\1"),
    # The stem, the stages and the classifier of most projects are named as torchvision names them.
    (r"^(conv1|bn1|stem|layer\d)\.", r"backbone.\1."),
    (r"^fc\.", "head.fc."),
)
# In the shortcuts of ResNet-D where nothing strides, timm has an empty pool and MMDetection a pool
# of size 1. ResNet-D is told by its stem and these names.
DEEP_STEM_OR_ECA = re.compile(r"(^|\.)(stem|conv1)\.0\.weight$|\.se\.conv\.")
POOL_IN_LAYER1: Renames = (
    (r"\b(layer1\.0\.downsample)\.1\.", r"\1.0."),
    (r"\b(layer1\.0\.downsample)\.2\.", r"\1.1."),
)

SOURCES: dict[str, Source] = {
    "iresnet-basic": Source(
        "iduta/iresnet, 18 and 34 layers",
        marks=(r"^layer2\.0\.downsample\.2\.weight$|\.bn0\.",),
        # Average pools in the shortcuts (ResNet-D) have these names too, but a deep stem beside
        # them, and each block has a bn2.
        absent=(r"\.conv3\.", r"^conv1\.0\.", r"^stem\.", r"^layer2\.2\.bn2\."),
        rows=(
            (r"\.bn0\.", ".before.0."),
            # Of the later blocks of a stage only the end block has a bn2: the norm of the sum.
            (r"(layer\d\.[1-9]\d*)\.bn2\.", r"\1.after.0."),
            *TORCHVISION,
        ),
    ),
    "iresnet": Source(
        "iduta/iresnet, bottleneck and ResGroup blocks",
        marks=(r"\.conv3\.", r"\.bn0\."),
        rows=(
            (r"\.bn0\.", ".before.0."),
            (r"(layer\d\.[1-9]\d*)\.bn3\.", r"\1.after.0."),
            *TORCHVISION,
        ),
    ),
    "ed-net": Source(
        "megvii-research/ED-Net",
        marks=(r"layer1\.layer1_block_0\.", r"encoder_conv"),
        rows=(
            (r"layer\d\.(layer\d)_block_(\d+)\.", r"\1.\2."),
            (r"conv_(conv\d)", r"\1"),
            (r"bn_(bn\d)", r"\1"),
            (r"shortcut\.shortcut_conv", "downsample.projection.0"),
            (r"shortcut\.shortcut_bn", "downsample.projection.1"),
            (r"encoder\.encoder_conv", "downsample.encoder.0"),
            (r"encoder\.encoder_bn", "downsample.encoder.1"),
            (r"decoder\.decoder_conv", "downsample.decoder_conv"),
            (r"decoder\.decoder_bn", "downsample.decoder_norm"),
            (r"fc_reduction", "se_layer.conv1.conv"),
            (r"fc_extention", "se_layer.conv2.conv"),
            *TORCHVISION,
        ),
    ),
    "maskrcnn-benchmark": Source(
        "a detector of maskrcnn-benchmark or FCOS, such as unbelieboomboom/SReResNet",
        marks=(r"^backbone\.body\.stem\.conv1\.weight$",),
        rows=(
            (r"^(?!backbone\.body\.)", None),
            (r"^backbone\.body\.(stem\.)?", ""),
            *TORCHVISION,
        ),
        without_eps=True,
        note="use it with style='caffe', frozen batch norms, and BGR images of mean "
        "[102.9801, 115.9465, 122.7717] and std 1, the project’s defaults (the authors’ later "
        "recipe for MMDetection, configs/sreresnet/fcos_sreresnet50_1x.py, has the mean "
        "[103.53, 116.28, 123.675])",
    ),
    "timm-deep-stem": Source(
        "timm, a deep stem (ResNet-C and ResNet-D)",
        marks=(r"^conv1\.0\.weight$", r"^layer1\.0\.conv1\.weight$"),
        # timm calls two convolutions of the stem and their norms conv1, the last norm bn1.
        rows=((r"^conv1\.(\d)\.", r"stem.\1."), (r"^bn1\.", "stem.7."), *TORCHVISION),
    ),
    "torchvision": Source(
        "torchvision, and what keeps its names: timm, backbones of MMDetection, Caffe, iduta",
        marks=(r"^(conv1|stem\.0|stem\.0\.conv)\.weight$", r"^layer1\.0\.conv1\.weight$"),
        rows=TORCHVISION,
    ),
    "detectron2": Source(
        "Detectron2: a classifier, or a detector, of which the backbone is kept",
        marks=(r"(^|\.)stem\.conv1\.norm\.weight$", r"(^|\.)res2\.0\.conv1\.weight$"),
        rows=(
            (r"^(?!(backbone\.bottom_up\.)?(stem|res\d)\.)", None),
            (r"^backbone\.bottom_up\.", ""),
            (r"^stem\.", ""),
            *((rf"^res{stage + 1}\.", f"layer{stage}.") for stage in (1, 2, 3, 4)),
            (r"\bconv(\d)\.norm\.", r"bn\1."),
            (r"\bshortcut\.norm\.", "downsample.1."),
            (r"\bshortcut\.", "downsample.0."),
            *TORCHVISION,
        ),
        note="use it with style='caffe' and BGR images of std 1, unless its config has "
        "STRIDE_IN_1X1: False (torchvision's weights)",
    ),
    "mmpretrain": Source(
        "a classifier of MMPretrain or MMClassification",
        marks=(r"^backbone\.", r"^head\."),
        rows=((r"^(?!(backbone|head)\.)", None),),
    ),
    "mmdetection": Source(
        "a detector of MMDetection, of which the backbone is kept",
        marks=(r"^backbone\.(conv1|stem|layer1)\.",),
        rows=((r"^(?!backbone\.)", None), *TORCHVISION),
        note="the names do not tell the style and the normalisation of the images: take those of "
        "its config",
    ),
}


def rename(names: Iterable[str], source: str) -> dict[str, str | None]:
    """The names by which MMPretrain calls the tensors of ``source``; None for those to drop."""
    names = list(names)
    rows = SOURCES[source].rows
    is_d = any("layer1.0.downsample.2." in name for name in names)
    if is_d and any(map(DEEP_STEM_OR_ECA.search, names)):
        rows = POOL_IN_LAYER1 + rows
    return {name: _renamed(name, rows) for name in names}


def _renamed(name: str, rows: Renames) -> str | None:
    for pattern, replacement in rows:
        if replacement is not None:
            name = re.sub(pattern, replacement, name)
        elif re.search(pattern, name):
            return None
    return name


def recognise(names: Iterable[str]) -> str:
    """The key in :data:`SOURCES` of the naming that ``names`` follow.

    Args:
        names: Names of the tensors of a state dict.

    Raises:
        ValueError: If they follow none; the message names the prefixes behind which they do.
    """
    names = [WRAPPERS.sub("", str(name)) for name in names]
    source = _source_of(names)
    if source:
        return source
    starts = {name.partition("layer1.")[0] for name in names if "layer1." in name}
    behind = {
        start: _source_of([name.removeprefix(start) for name in names if name.startswith(start)])
        for start in sorted(starts)
    }
    hints = [f"--prefix {start} ({key})" for start, key in behind.items() if start and key]
    raise ValueError(
        f"no known source names its tensors like this: {shortened(sorted(names))}; "
        + (f"this would do: {' or '.join(hints)}" if hints else f"known are {', '.join(SOURCES)}")
    )


def _source_of(names: list[str]) -> str | None:
    for key, source in SOURCES.items():
        found = all(any(re.search(mark, name) for name in names) for mark in source.marks)
        if found and not any(re.search(mark, name) for mark in source.absent for name in names):
            return key
    return None
