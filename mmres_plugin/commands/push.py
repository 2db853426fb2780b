"""Put a checkpoint with its config and a card on the Hugging Face Hub, or into a folder.

mmres push my_config.py work_dirs/my_config/epoch_12.pth owner/name
mmres push my_config.py work_dirs/my_config/epoch_12.pth owner/name --folder here   # no upload
"""

import argparse
import tempfile
from pathlib import Path

from ..engine.runner import user_errors
from ..errors import UserError
from ..weights.hugging_face import upload
from ..weights.repository import write_repository


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file of the model")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("repository", help="owner/name; made if it does not exist")
    parser.add_argument("--folder", type=Path, help="write here and upload nothing")
    parser.add_argument("--license", help="for the card, such as apache-2.0")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with user_errors():
        if args.repository.count("/") != 1:
            raise UserError([f"repository: {args.repository} must be owner/name"])
        files = (args.config, args.checkpoint)
        if args.folder:
            written = write_repository(*files, args.folder, args.repository, args.license)
            print("\n".join(f"written: {path}" for path in written))
            return
        with tempfile.TemporaryDirectory() as folder:
            write_repository(*files, folder, args.repository, args.license)
            print(f"uploaded: {upload(Path(folder), args.repository, args.private)}")
