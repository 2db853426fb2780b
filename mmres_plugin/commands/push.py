"""Put a checkpoint with its config and a card on the Hugging Face Hub, or into a folder.

mmres push my_config.py work_dirs/my_config/epoch_12.pth owner/name
mmres push my_config.py work_dirs/my_config/epoch_12.pth owner/name --folder here   # no upload
"""

import tempfile
from pathlib import Path

from ..cli import Parser
from ..errors import UserError, user_error


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres push")
    parser.add_argument("config", help="config file of the model")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("repository", help="owner/name; made if it does not exist")
    parser.add_argument("--folder", type=Path, help="folder to write to, without an upload")
    parser.add_argument("--license", help="licence for the card: apache-2.0 …")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    args = parser.parse_args(argv)
    if args.repository.count("/") != 1:
        raise UserError(f"repository: {args.repository} must be owner/name")
    from ..weights.hugging_face import upload, write_repository

    with tempfile.TemporaryDirectory() as temporary, user_error("push"):
        folder = args.folder or Path(temporary)
        names = (args.config, args.checkpoint, folder, args.repository, args.license)
        lines = [f"written: {path}" for path in write_repository(*names)]
        if not args.folder:
            lines = [f"uploaded: {upload(folder, args.repository, args.private)}"]
        print("\n".join(lines))
