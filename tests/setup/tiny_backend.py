"""A build backend in one file, so that tests of the set-up install real packages without network.

It is copied into the projects that it builds. What to build is in their ``files.json``; the
environment variables say how the build behaves:

TINY_LOG
    A file that each build adds a line with its process id to.
TINY_SLEEP
    Seconds that a build takes.
"""

import base64
import hashlib
import io
import json
import os
import tarfile
import time
import zipfile
from pathlib import Path

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def make_wheel(folder, name: str, version: str, files: dict) -> str:
    """Write a wheel with `files` (path to text) into a folder and return its file name."""
    info = f"{name}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{info}/RECORD,,"]
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        rows.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join(rows) + "\n"
    file_name = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, file_name), "w") as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16  # scripts have to be executable
            archive.writestr(entry, text)
    return file_name


def make_project(name: str, version: str, files: dict) -> dict:
    """The files (path to text) of a project that this backend builds."""
    return {
        "pyproject.toml": PYPROJECT,
        "backend.py": Path(__file__).read_text(),
        "files.json": json.dumps([name, version, files]),
    }


def make_sdist(folder, name: str, version: str, files: dict) -> None:
    """Write a source distribution of `make_project` into a folder."""
    content = make_project(name, version, files)
    content["PKG-INFO"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with tarfile.open(Path(folder, f"{name}-{version}.tar.gz"), "w:gz") as archive:
        for path, text in content.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Hook of pip and uv: what it prints and how long it takes is like a compilation by ninja."""
    with open(os.environ["TINY_LOG"], "a") as log:
        log.write(f"{os.getpid()}\n")
    for step in range(1, 5):
        time.sleep(float(os.environ.get("TINY_SLEEP", 0)) / 4)
        print(f"[{step}/4] c++ -c file{step}.cpp", flush=True)
    return make_wheel(wheel_directory, *json.loads(Path("files.json").read_text()))


build_editable = build_wheel
