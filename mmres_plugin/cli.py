"""The command ``mmres``: the tools by short names, from any folder.

``mmres train …`` is ``python tools/train.py …``; the options are the tool's own. ``mmres run``
starts MMPretrain's and MMDetection's tools with the plugin imported.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from .errors import did_you_mean
from .hub import ROOT
from .version import __version__

# Name, script below tools/ and what it does.
TOOLS = (
    ("train", "train.py", "train a classifier or a detector"),
    ("test", "test.py", "evaluate a checkpoint"),
    ("predict", "predict.py", "predict on images and videos, draw what was found"),
    ("check", "datasets/check_dataset.py", "check a data set before training on it"),
    ("info", "info.py", "versions for a bug report; models with their cost and weights"),
    ("convert", "model_converters/convert_checkpoint.py", "convert other projects' weights"),
    ("publish", "model_converters/publish_model.py", "make a checkpoint ready to publish"),
    ("push", "model_converters/push_to_hub.py", "upload a model to the Hugging Face Hub"),
    ("fold", "model_converters/fold_checkpoint.py", "fold batch norms into convolutions"),
    ("export", "deployment/export_onnx.py", "export a model to ONNX or TorchScript"),
    ("test-exported", "deployment/test_exported.py", "evaluate an exported file"),
    ("compare", "analysis/compare_backbones.py", "train several backbones alike and compare them"),
    ("maps", "visualization/feature_maps.py", "draw feature maps, and where a model looks"),
    ("cost", "analysis/complexity.py", "count parameters and multiply-accumulates"),
    ("speed", "benchmarks/speed.py", "measure the speed and memory of backbones"),
    ("digits", "datasets/build_digits.py", "draw the data set of handwritten digits"),
    ("shapes", "datasets/build_shapes.py", "draw the data set of shapes"),
)
PACKAGES = ("mmpretrain", "mmdet")  # whose tools ``mmres run`` knows


def main(args: list[str] | None = None) -> None:
    """Run the tool that the command line names.

    Args:
        args: The words after ``mmres``; by default those of the process.
    """
    name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    tools = installed_tools()
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"mmres_plugin {__version__}")
    elif name == "run":
        run_foreign(rest)
    elif name in tools:
        run_script(tools[name], f"mmres {name}", rest)
    else:
        fail(f"there is no command '{name}'.{did_you_mean(name, [*tools, 'run'])}\n\n{overview()}")


def installed_tools() -> dict[str, Path]:
    """The scripts of the commands by name."""
    paths = {name: ROOT / "tools" / script for name, script, _ in TOOLS}
    return {name: path for name, path in paths.items() if path.is_file()}


def overview() -> str:
    """The list of commands, for the screen."""
    known = installed_tools()
    rows = [(name, what) for name, _, what in TOOLS if name in known]
    rows.append(("run", f"run a tool of {' or '.join(PACKAGES)} on configs of the plugin"))
    lines = [f"  {name:15}{what}" for name, what in rows]
    return "\n".join(["usage: mmres COMMAND …   (mmres COMMAND --help for its options)", *lines])


def foreign_tools() -> dict[str, Path]:
    """MMPretrain's and MMDetection's own tools: ``mmdet/train`` and so on."""
    found = {}
    for package in PACKAGES:
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            tools = Path(place) / ".mim" / "tools"
            for path in sorted(tools.rglob("*.py")):
                found[f"{package}/{path.relative_to(tools).with_suffix('')}"] = path
    return found


def run_foreign(args: list[str]) -> None:
    """Run a tool of another package, or any script, with the plugin imported."""
    tools = foreign_tools()
    if not args or args[0] in ("-h", "--help"):
        print("usage: mmres run TOOL …   TOOL is the path of a script, or one of\n  ", end="")
        print("\n  ".join(tools))
        return
    script = tools.get(args[0].removesuffix(".py"), Path(args[0]))
    if not script.is_file():
        meant = did_you_mean(args[0], tools)
        fail(f"there is no tool {args[0]}.{meant} `mmres run` lists them")
    run_script(script, str(script), args[1:])


def run_script(script: Path, name: str, args: list[str]) -> None:
    """Run a script in this process as Python would; ``runpy`` would set its own name.

    Args:
        script: The file.
        name: What it calls itself in its messages.
        args: Its arguments.
    """
    sys.argv = [name, *args]
    sys.path.insert(0, str(script.parent))
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__file__ = str(script)  # processes that it starts look there
    exec(compile(script.read_bytes(), str(script), "exec"), vars(module))


def fail(message: str) -> NoReturn:
    """End the program as for any wrong command line."""
    print(f"mmres: {message}", file=sys.stderr)
    sys.exit(2)
