"""Our models in MMPretrain's hub: ``get_model``, ``list_models`` and ``inference_model``.

The model index and the configs lie in ``mmres_plugin/.mim``, in a wheel as in a checkout.
"""

from pathlib import Path

from mmengine.runner import CheckpointLoader
from mmpretrain.apis.model import ModelHub
from modelindex.load_model_index import load
from modelindex.models.Model import Model

ROOT = Path(__file__).parent / ".mim"
SCHEME = "mmres_plugin://"
# One config per network; those of other recipes (rsb) train the same networks.
MODEL_SUFFIX = "_8xb32_in1k"


def register_models() -> None:
    """Add the models of our index to the hub when it is first asked for a model.

    Reading the indexes takes more than a second, and most programs never ask.
    """
    if getattr(ModelHub._register_mmpretrain_models, "with_ours", False):
        return
    register_mmpretrain_models = ModelHub._register_mmpretrain_models
    registered = False

    def register(cls: type[ModelHub]) -> None:
        nonlocal registered
        register_mmpretrain_models()
        if not registered:
            _add_models()
            registered = True

    register.with_ours = True  # pyright: ignore[reportFunctionMemberAccess]
    ModelHub._register_mmpretrain_models = classmethod(register)  # pyright: ignore


def _add_models() -> None:
    """Add our models; a name that the hub has already is skipped, as a clash breaks look-ups."""
    index = load(str(ROOT / "model-index.yml"))
    index.build_models_with_collections()  # pyright: ignore[reportAttributeAccessIssue]
    for model in index.models:  # pyright: ignore[reportAttributeAccessIssue]
        name = model.name.lower()
        if ModelHub.has(name):
            continue
        model.config = ModelHub._expand_config_path(model, ROOT)
        if model.weights is None:
            model.weights = SCHEME + name
        ModelHub._models_dict[name] = model


def all_models() -> dict[str, Model]:
    """The models in the hub, MMPretrain's and ours, by name."""
    ModelHub._register_mmpretrain_models()
    return ModelHub._models_dict


def is_model(name: str) -> bool:
    """Whether ``name`` is a model that the plugin ships a classification config of."""
    return name.endswith(MODEL_SUFFIX) and any((ROOT / "configs").glob(f"*/{name}.py"))


def how_to_get(name: str, path: str) -> str:
    """How to make the checkpoint ``path`` of the model ``name``, for an error message."""
    config = next((ROOT / "configs").glob(f"*/{name}.py"))
    return (
        "Convert the authors' file, where there is one (docs/weights.md lists them), with\n"
        f"    python tools/model_converters/convert_checkpoint.py FILE {path} --model {name}\n"
        "or train the model, with\n"
        f"    python tools/train.py configs/{config.parent.name}/{config.name}"
    )


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)  # pyright: ignore[reportOptionalCall]
def load_from_mmres_plugin(filename: str, map_location=None) -> dict:
    """Loader of weights that are not published in MMPretrain's format: it says how to get them.

    The hub would return random weights with a mere warning for a model without weights.

    Raises:
        FileNotFoundError: Always.
    """
    name = filename.removeprefix(SCHEME)
    path = f"checkpoints/{name}.pth"
    raise FileNotFoundError(
        f"there are no published weights of {name} in MMPretrain format. {how_to_get(name, path)}\n"
        f"then load them with get_model('{name}', pretrained='{path}')"
    )
