"""``python -m mmres_plugin`` is ``mmres``."""

from .cli import main

if __name__ == "__main__":  # processes that are spawned import this file
    main()
