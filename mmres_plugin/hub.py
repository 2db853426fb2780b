"""Our models in MMPretrain's hub: ``get_model``, ``list_models`` and ``inference_model``.

The model index and the configs lie in ``mmres_plugin/.mim``, in a wheel as in a checkout.
"""

from pathlib import Path

from mmpretrain.apis.model import ModelHub
from modelindex.models.Model import Model

ROOT = Path(__file__).parent / ".mim"
# What the addresses of our models' weights start with, in our metafiles.
OWN_SCHEME = "mmres_plugin://"
# One config per network; those of other recipes (rsb) train the same networks.
MODEL_SUFFIX = "_8xb32_in1k"


def register_models() -> None:
    """Add the models of our index to the hub; a second call changes nothing."""
    if not ModelHub.has(f"sreresnet50{MODEL_SUFFIX}"):
        ModelHub.register_model_index(ROOT / "model-index.yml", config_prefix=ROOT)


def hub_model(name: str) -> Model | None:
    """The entry of a model, ours or MMPretrain's; None if there is none of this name."""
    try:
        return ModelHub.get(name)  # `has` does not know MMPretrain's before the first `get`
    except ValueError:
        return None


def shipped() -> dict[str, Path]:
    """The configs of the plugin, within a folder of them, by the names of their models."""
    return {path.stem: path for path in (ROOT / "configs").glob("*/*.py")}


def is_model(name: str) -> bool:
    """Whether ``name`` is a model that the plugin ships a classification config of."""
    return name.endswith(MODEL_SUFFIX) and name in shipped()


def how_to_get(name: str, path: str) -> str:
    """How to make the checkpoint ``path`` of the model ``name``, for an error message."""
    return (
        "Convert the authors' file, where there is one (docs/weights.md lists them), with\n"
        f"    mmres convert FILE {path} --model {name}\n"
        "or train the model, with\n"
        f"    mmres train configs/{shipped()[name].parent.name}/{name}.py"
    )
