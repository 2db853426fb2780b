"""Memory that stays with the process, for inference and training on a CPU.

glibc maps each block of more than 32 MiB afresh and hands it back as soon as it is freed. A network
frees such blocks in every forward pass, and the kernel clears their pages for the next one, which
can take longer than the convolutions do.
"""

import ctypes
import platform

# The numbers that glibc's <malloc.h> gives to what mallopt(3) sets.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, for the next batch; call once, at the start.

    The process then never shrinks. The setting applies to all threads that start later, and cannot
    be undone. The environment variables ``MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1
    MALLOC_TRIM_THRESHOLD_=1000000000000`` have the same effect.

    Returns:
        False where the C library is not glibc (macOS, Windows, Alpine): then nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    # No block is mapped on its own, the heap never shrinks, and threads share the one heap that
    # can grow (those of other threads end at 64 MiB).
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_ARENA_MAX: 1}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
