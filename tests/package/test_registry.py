"""Names: in the registries, in configs and in MMPretrain's hub, each from a fresh interpreter."""

import sys

import pytest
from helpers import run

from mmres_plugin.registry import BACKBONES


def test_the_families_are_registered():
    assert set(BACKBONES) == {
        *("SReResNet", "SReResNetV1d", "SReResNeXt", "SReSEResNet", "SReSEResNeXt"),
        *("IResNet", "IResGroup"),
        *("EDResNet", "EDResNeXt", "EDSEResNet", "EDSEResNeXt"),
        *("SEResNet", "SEResNeXt", "ResNeXt"),
    }


# An interpreter that imports the whole stack takes seconds: one is in the quick suite.
SCOPED = "from {}.registry import MODELS; MODELS.get('mmres_plugin.SReResNet')"
CODE = """
import importlib, socket, sys
socket.socket.connect = None  # there is no network
{first}
from mmengine.registry import MODELS as root
from mmpretrain.registry import MODELS as pretrain
from mmdet.registry import MODELS as det
print(*(m for m in sys.modules if m.startswith('mmres_plugin.checks')))  # for commands alone
print(type(root.build(dict(type='mmres_plugin.IResNet', depth=18))).__name__)
for _ in range(2):
    for registry in (root, pretrain, det):
        print(registry.get('SReResNet').__module__)
    print(pretrain.get('SEResNeXt').__module__)  # MMPretrain keeps its own within its scope
    print(det.get('SEResNeXt').__module__)
    for name in ('mmres_plugin.models.sreresnet', 'mmres_plugin'):
        importlib.reload(sys.modules[name])
"""


@pytest.mark.parametrize(
    "first",
    [
        SCOPED.format("mmdet"),
        pytest.param(SCOPED.format("mmengine"), marks=pytest.mark.slow),
        pytest.param(SCOPED.format("mmpretrain"), marks=pytest.mark.slow),
        pytest.param("import mmpretrain, mmdet, mmres_plugin", marks=pytest.mark.slow),
        pytest.param(
            "import mmres_plugin, mmpretrain.models, mmdet.models", marks=pytest.mark.slow
        ),
    ],
)
def test_names(first):
    """A scoped name imports the plugin; then the plain names work, also when it is reloaded."""
    plain = [*["mmres_plugin.models.sreresnet"] * 3, "mmpretrain.models.backbones.seresnext"]
    plain.append("mmres_plugin.models.seresnet")
    found = run(sys.executable, "-W", "ignore", "-c", CODE.format(first=first)).split()
    assert found == ["IResNet", *plain, *plain]
