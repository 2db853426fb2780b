"""Make the environment of this repository: ``make setup``. It is safe to run this again.

uv installs requirements.txt from where pip's settings say. mmcv is compiled once for each PyTorch,
Python and kind of machine; its wheel stays in the cache. Python 3.6 can read this file, too.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = (ROOT / "requirements.txt").read_text()
UV, MMCV = (re.findall(rf"^{name}==[^\s;]+", PINS, re.M)[0] for name in ("uv", "onedl-mmcv"))
PYTHON, PLATFORM = "{}.{}".format(*sys.version_info), sysconfig.get_platform()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmres_plugin"
WHEELS = f"wheels/{MMCV.replace('==', '-')}-torch-{{}}-cp{PYTHON.replace('.', '')}-{PLATFORM}-{{}}"
SETTINGS = {  # pip's, and the variables in which uv takes them
    **{"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "proxy": "ALL_PROXY"},
    **{"find-links": "UV_FIND_LINKS", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE"},
}
TARGET = """import torch
if gpu := torch.cuda.is_available():
    from torch.utils.cpp_extension import CUDA_HOME as gpu
print(torch.__version__, "sm%d%d" % torch.cuda.get_device_capability() if gpu else "cpu")"""
PROOF = "import torch; from mmcv.ops import nms; nms(torch.ones(1, 4), torch.ones(1), 0.5)"


def run(reason, *command, **env):
    """Run a command with its output on the screen; if it fails, end the set-up with this reason."""
    if subprocess.call([*map(str, command)], env={**os.environ, **env}):
        sys.exit(f"\nset-up stopped: {reason}")


def faults(venv, made):
    """Why the set-up cannot work, or would change what others made."""
    if PYTHON not in ("3.10", "3.11", "3.12") or os.name != "posix":
        yield f"Python {PYTHON} does not do. Name 3.10, 3.11 or 3.12: make setup PYTHON=python3.12"
    if venv.exists() and (made is None or not f"{made}\n".startswith(("\n", f"{ROOT}\n"))):
        yield f"{venv} was not made here by make setup. Choose another: make setup VENV=.venv2"
    if not any(CACHE.glob(WHEELS.format("*", "*") + "/*.whl")):
        if not shutil.which(os.environ.get("CXX", "c++")):
            yield "there is no C++ compiler. On Debian and Ubuntu: sudo apt install g++"
        if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
            yield f"Python's headers are missing. On Debian: sudo apt install python{PYTHON}-dev"


def install(python, *args):
    """Install packages with uv, from where pip would take them."""
    reason = "uv says why above. Check the network and the index that `pip config list` shows."
    uv = CACHE / f"{UV}-{os.uname().machine}/bin/uv"
    if not uv.exists():
        run(reason, python, "-m", "pip", "install", "--target", uv.parents[1], UV)
    listed = subprocess.check_output([python, "-m", "pip", "config", "list"]).decode()
    for section in (":env:", "install", "global"):  # what is set first stays
        for name, value in re.findall(rf"^{section}\.(\S+?)=(.*)$", listed, re.M):
            words = map(os.path.expanduser, ast.literal_eval(value).split())
            if name in SETTINGS:
                os.environ.setdefault(SETTINGS[name], ("," if "links" in name else " ").join(words))
    os.environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # all indexes alike, as for pip
    command = [*map(str, (uv, "pip", "install", "--python", python, *args))]
    # The versions are exact: where uv's cache has them, no index is asked.
    if subprocess.call([*command, "--offline"], stderr=subprocess.DEVNULL):
        run(reason, *command)


def install_mmcv(python):
    """Install mmcv from its kept wheel, or compile it; prove that its operators work."""
    torch, target = subprocess.check_output([python, "-c", TARGET]).decode().split()
    folder = CACHE / WHEELS.format(torch, target)
    if not any(folder.glob("*.whl")):
        print("Compiling mmcv: 10 minutes with 2 cores.", flush=True)
        options = "--no-build-isolation --no-cache-dir --no-deps --no-binary=:all: -v --wheel-dir"
        env = {"CFLAGS": "-g0", "CXXFLAGS": "-g0", "MAX_JOBS": str(os.cpu_count()), **os.environ}
        env.update({"CUDA_VISIBLE_DEVICES": ""} if target == "cpu" else {"FORCE_CUDA": "1"})
        reason = "mmcv was not compiled; the reason is above. Little memory? MAX_JOBS=1 make setup"
        run(reason, python, "-m", "pip", "wheel", *options.split(), folder, MMCV, **env)
    install(python, "--no-deps", "--reinstall", *folder.glob("*.whl"))
    run(f"mmcv's operators do not work. Remove {folder}, run this again.", python, "-c", PROOF)


def main(venv):
    """Make or renew the environment in this folder."""
    import fcntl  # Windows has none

    stamp, python = Path(f"{venv}.lock"), f"{venv}/bin/python"
    for fault in faults(venv, stamp.read_text() if stamp.exists() else None):
        sys.exit(f"\nset-up stopped: {fault}")
    wanted = "\n".join([str(ROOT), sys.version, PINS, (ROOT / "pyproject.toml").read_text()])
    with stamp.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another set-up of the same folder comes first
        file.seek(0)
        made = file.read()
        if made == wanted and os.path.exists(python):
            return print(f"{venv} is up to date.")
        file.truncate(0)
        if not made.startswith(f"{ROOT}\n{sys.version}"):  # new, half-made or of another Python
            run("Python says why above.", sys.executable, "-m", "venv", "--clear", venv)
        excluded = venv / "excluded.txt"  # mmcv is compiled; headless OpenCV needs no libraries
        excluded.write_text("onedl-mmcv\nopencv-python\n")
        pins = ("-r", ROOT / "requirements.txt", "--build-constraints", ROOT / "requirements.txt")
        install(python, *pins, "--excludes", excluded, "--editable", ROOT)
        install_mmcv(python)
        file.write(wanted)
    print(f"Ready: source {venv}/bin/activate")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv").absolute())
