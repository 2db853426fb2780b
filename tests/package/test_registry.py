"""Names: in the registries, in configs and in MMPretrain's hub, each from a fresh interpreter."""

import sys

import pytest
from helpers import run

from mmres_plugin.registry import BACKBONES

NAMES = sorted(BACKBONES)


def run_code(code: str) -> str:
    return run(sys.executable, "-W", "ignore", "-c", code)


def test_the_families_are_registered():
    assert set(NAMES) == {
        *("SReResNet", "SReResNetV1d", "SReResNeXt", "SReSEResNet", "SReSEResNeXt"),
        *("IResNet", "IResGroup"),
        *("EDResNet", "EDResNeXt", "EDSEResNet", "EDSEResNeXt"),
        *("SEResNet", "SEResNeXt", "ResNeXt"),
    }


# An interpreter that imports the whole stack takes seconds: one of each kind is in the quick suite.
slow = pytest.mark.slow


@pytest.mark.parametrize(
    "project", [*(pytest.param(p, marks=slow) for p in ("mmengine", "mmpretrain")), "mmdet"]
)
def test_scoped_name_needs_no_import(project):
    code = f"""
from {project}.registry import MODELS
print(MODELS.get('mmres_plugin.SReResNet').__module__)
print(type(MODELS.build(dict(type='mmres_plugin.IResNet', depth=18))).__name__)
"""
    assert run_code(code).split() == ["mmres_plugin.models.sreresnet", "IResNet"]


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("import mmpretrain, mmdet, mmres_plugin", marks=slow),
        pytest.param("import mmres_plugin, mmpretrain.models, mmdet.models", marks=slow),
        "import mmres_plugin, importlib; importlib.reload(mmres_plugin.models.sreresnet); "
        "importlib.reload(mmres_plugin)",
    ],
    ids=["after", "before", "twice"],
)
def test_plain_name_after_import(imports):
    code = f"""
{imports}
from mmengine.registry import MODELS as root
from mmpretrain.registry import MODELS as pretrain
from mmdet.registry import MODELS as det
for registry in (root, pretrain, det):
    print(registry.get('SReResNet').__module__)
print(pretrain.get('SEResNeXt').__module__)  # MMPretrain keeps its own within its scope
print(det.get('SEResNeXt').__module__)
"""
    theirs, ours = "mmpretrain.models.backbones.seresnext", "mmres_plugin.models.seresnet"
    assert run_code(code).split() == [*["mmres_plugin.models.sreresnet"] * 3, theirs, ours]


def test_importing_the_plugin_needs_no_network_and_no_checks():
    code = """
import socket, sys
socket.socket.connect = None
import mmres_plugin
print(*(m for m in sys.modules if m.startswith('mmres_plugin.checks')), 'end')
"""
    assert run_code(code).split() == ["end"]
