"""Everything static is in pyproject.toml; here only what a wheel needs beyond the package.

`mim` and the model hub look for configs, tools and the model index inside the installed package,
under ``mmres_plugin/.mim``. They are copied there while a wheel is being built. An editable
install needs no copy: there the repository itself is the root of the hub.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
HUB_FILES = ("model-index.yml", "configs", "tools")


class BuildWithHubFiles(build_py):
    """`build_py` that also puts the hub's files into the wheel."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self._hub_files().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *self._hub_files().values()]

    def _hub_files(self) -> dict[str, str]:
        """Maps each file of the hub, relative to the repository, to its place in the wheel."""
        hub = Path(self.build_lib, "mmres_plugin", ".mim")
        paths = [
            path.relative_to(ROOT)
            for name in HUB_FILES
            for path in [ROOT / name, *sorted((ROOT / name).rglob("*"))]
            if path.is_file() and "__pycache__" not in path.parts
        ]
        return {str(path): str(hub / path) for path in paths}


setup(cmdclass={"build_py": BuildWithHubFiles})
