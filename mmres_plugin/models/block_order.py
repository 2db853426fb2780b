"""Where norms and activations stand in a block: ResNet's order, and those of IResNet.

A row lists the layers of a block in the order in which they run. ``+`` adds the shortcut, which
sees the raw input. ``...`` stands for one more ``conv norm relu`` in a bottleneck and for nothing
in a basic block. SE ends the branch, before ``+``.
"""

ORDERS = {
    "resnet": "              conv norm relu ... conv norm + relu",
    "second": "              conv norm relu ... conv      +",
    "middle": "    norm relu conv norm relu ... conv      +",
    "end": "       norm relu conv norm relu ... conv      + norm relu",
    "second_end": "          conv norm relu ... conv      + norm relu",
    "start_end": "           conv norm relu ... conv norm + norm relu",
}


def iresnet_order(index: int, num_blocks: int) -> str:
    """The key in :data:`ORDERS` of block ``index`` in an IResNet stage of ``num_blocks`` blocks.

    IResNet (arXiv 2004.04989, section 3.1) has start, middle and end blocks. The start block is
    ResNet's: in the paper's figure it has no ReLU after the sum, and the branch of the second block
    starts with one. In the authors' code that ReLU works in place, so the shortcut of the second
    block sees it too, and their weights are trained with it. A ReLU after the sum of the start
    block is the same function.

    The second block needs no norm before its first convolution: its input is normalised already.
    """
    last = index == num_blocks - 1
    if index == 0:
        return "start_end" if last else "resnet"
    if index == 1:
        return "second_end" if last else "second"
    return "end" if last else "middle"
