"""Weights of our models by address, as in ``init_cfg``: ``mmres_plugin://iresnet20_cifar10``."""

from pathlib import Path

from mmengine.runner import CheckpointLoader

from ..errors import did_you_mean
from ..hub import OWN_SCHEME, how_to_get, shipped
from .files import read_checkpoint

# Those that come with the plugin, one file per model.
FOLDER = Path(__file__).parent / "cifar10"


def own_file(name: str) -> Path:
    """Where the weights of a model are, if they come with the plugin."""
    return FOLDER / f"{name}.safetensors"


@CheckpointLoader.register_scheme(prefixes=OWN_SCHEME, force=True)  # pyright: ignore[reportOptionalCall]
def load_by_name(address: str, map_location="cpu") -> dict:
    """The weights that come with the plugin under this address.

    For all other models the error says how to get them: the hub would return random weights with a
    mere warning.

    Raises:
        FileNotFoundError: If there are none.
    """
    name = address.removeprefix(OWN_SCHEME)
    if own_file(name).is_file():
        return read_checkpoint(own_file(name), map_location)
    if name not in shipped():
        raise FileNotFoundError(f"there is no model {name}.{did_you_mean(name, shipped())}")
    path = f"checkpoints/{name}.pth"
    raise FileNotFoundError(
        f"there are no published weights of {name} in MMPretrain format. {how_to_get(name, path)}\n"
        f"then load them with get_model('{name}', pretrained='{path}')"
    )
