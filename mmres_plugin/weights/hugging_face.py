"""Models on the Hugging Face Hub: ``hf://owner/name`` wherever a checkpoint is named.

:mod:`mmres_plugin.deploy.repository` makes such repositories and reads their configs.
"""

import re
from pathlib import Path

from mmengine.runner import CheckpointLoader

from ..errors import UserError
from .files import read_checkpoint

SCHEME = "hf://"
WEIGHTS = "model.safetensors"
ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?")


def download(address: str, default: str = WEIGHTS) -> Path:
    """The local copy of a file on the hub, fetched if it is not in the cache yet.

    Args:
        address: ``hf://owner/name`` or ``hf://owner/name/file``, with ``@revision`` after the name
            or without.
        default: The file where the address names none.

    Raises:
        FileNotFoundError: If there is no such repository, revision or file, or no connection.
        ValueError: If the address is not of this form.
        ImportError: If huggingface_hub is not installed.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise ValueError(
            f"{address} is not an address on the Hugging Face Hub: hf://owner/name[@revision][/file]"
        )
    repository, revision, name = found.groups()
    hub, errors = _hub()
    reasons = (  # the first that fits
        (errors.GatedRepoError, "its owner must allow you to read it; then: hf auth login"),
        (
            errors.RepositoryNotFoundError,
            "there is no such repository, or it is private: hf auth login",
        ),
        (errors.RevisionNotFoundError, f"the repository has no revision {revision}"),
        (errors.EntryNotFoundError, f"the repository has no file {name or default}"),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set, and the file is not in the cache"),
    )
    try:
        return Path(hub.hf_hub_download(repository, name or default, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{address} could not be fetched: no connection, and the file is not in the cache "
            f"({hub.constants.HF_HUB_CACHE}). Fetch it on a machine that is online, with "
            f"`hf download {repository}`, and copy that folder here"
        ) from error
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, errors.EntryNotFoundError) as error:
        fitting = (text for kind, text in reasons if isinstance(error, kind))
        text = next(fitting, str(error).strip().partition("\n")[0])
        raise FileNotFoundError(f"{address} could not be fetched: {text}") from error


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)  # pyright: ignore[reportOptionalCall]
def load_from_hugging_face(filename: str, map_location=None) -> dict:
    """MMEngine's loader of ``hf://…``: for ``init_cfg``, ``load_from``, ``get_model`` …"""
    return read_checkpoint(download(filename))


def upload(folder: Path, repository: str, private: bool = False) -> str:
    """Upload a folder as a repository, which is made if it does not exist.

    Args:
        folder: The files.
        repository: ``owner/name``.
        private: Whether a repository that is made is private.

    Returns:
        The address of the commit.

    Raises:
        UserError: If the hub cannot be reached or refuses.
        ImportError: If huggingface_hub is not installed.
    """
    hub, errors = _hub()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder))
    except (errors.LocalTokenNotFoundError, errors.HfHubHTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            [f"{repository} was not uploaded: {reason} Log in: hf auth login"]
        ) from error
    except (OSError, ConnectionError) as error:
        raise UserError(
            [f"{repository} was not uploaded: no connection ({error}). Use --folder"]
        ) from error


def _hub():
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            "hf:// needs a package that is not here: pip install huggingface_hub"
        ) from error
    return huggingface_hub, huggingface_hub.errors
