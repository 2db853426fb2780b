"""Where published weights come from, and how their tensors are named there.

A source is a set of ordered rows ``(pattern, replacement)``; each row is applied with
:func:`re.sub` to the name that the rows before it left. The result is a name of MMPretrain's
classifiers: ``backbone.…`` or ``head.fc.…``. A replacement of None drops the tensor.
"""

from typing import NamedTuple

Rows = tuple[tuple[str, str | None], ...]


class Source(NamedTuple):
    """One naming of tensors.

    Attributes:
        title: Whose weights these are.
        marks: Patterns that each must be found in some name, for a file to be recognised.
        absent: Patterns that must be found in none.
        rows: The rules, in order.
    """

    title: str
    marks: tuple[str, ...]
    rows: Rows
    absent: tuple[str, ...] = ()


# DataParallel's prefix is no part of a name; the stem, the stages and the classifier of most
# projects are named as torchvision names them.
UNWRAP: Rows = ((r'^module\.', ''),)
TORCHVISION: Rows = (
    (r'^(conv1|bn1|layer\d)\.', r'backbone.\1.'),
    (r'^fc\.', 'head.fc.'),
)

SOURCES: dict[str, Source] = {
    'iresnet-basic': Source(
        'iduta/iresnet, 18 and 34 layers',
        marks=(r'layer2\.0\.downsample\.2\.weight$',),
        absent=(r'\.conv3\.',),
        rows=UNWRAP
        + (
            (r'\.bn0\.', '.before.0.'),
            # Of the later blocks of a stage only the end block has a bn2: the norm of the sum.
            (r'(layer\d\.[1-9]\d*)\.bn2\.', r'\1.after.0.'),
        )
        + TORCHVISION,
    ),
    'iresnet': Source(
        'iduta/iresnet, bottleneck and ResGroup blocks',
        marks=(r'\.conv3\.', r'\.bn0\.'),
        rows=UNWRAP
        + (
            (r'\.bn0\.', '.before.0.'),
            (r'(layer\d\.[1-9]\d*)\.bn3\.', r'\1.after.0.'),
        )
        + TORCHVISION,
    ),
    'ed-net': Source(
        'megvii-research/ED-Net',
        marks=(r'layer1\.layer1_block_0\.', r'encoder_conv'),
        rows=UNWRAP
        + (
            (r'layer\d\.(layer\d)_block_(\d+)\.', r'\1.\2.'),
            (r'conv_(conv\d)', r'\1'),
            (r'bn_(bn\d)', r'\1'),
            (r'shortcut\.shortcut_conv', 'downsample.projection.0'),
            (r'shortcut\.shortcut_bn', 'downsample.projection.1'),
            (r'encoder\.encoder_conv', 'downsample.encoder.0'),
            (r'encoder\.encoder_bn', 'downsample.encoder.1'),
            (r'decoder\.decoder_conv', 'downsample.decoder_conv'),
            (r'decoder\.decoder_bn', 'downsample.decoder_norm'),
            (r'fc_reduction', 'se_layer.conv1.conv'),
            (r'fc_extention', 'se_layer.conv2.conv'),
        )
        + TORCHVISION,
    ),
    'torchvision': Source(
        'torchvision, and what keeps its names: ResNet, ResNeXt, SReResNet backbones',
        marks=(r'^(module\.)?conv1\.weight$', r'layer1\.0\.conv1\.weight$'),
        rows=UNWRAP + TORCHVISION,
    ),
}
