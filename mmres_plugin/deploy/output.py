"""Check before the work that the output file can be written."""

import tempfile
from pathlib import Path

from ..errors import UserError, user_error


def prepare_output(path: str | Path) -> None:
    """Make the folder of ``path``, and see that a file can be written there.

    Args:
        path: The file to be written.

    Raises:
        UserError: If it is a folder, or nothing can be written in its own.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"out: {path} is a folder, not a file to write")
    with user_error(f"out: {path} cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
