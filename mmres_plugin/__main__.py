"""``python -m mmres_plugin`` is ``mmres``."""

from .cli import main

main()
