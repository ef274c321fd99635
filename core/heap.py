"""How the C library keeps memory for the next tile.

By itself it asks the system anew for every large array and hands it back afterwards, and the
system must clear each page again: a tenth to a fifth of the time of a tile. Kept in one heap,
the same pages serve tile after tile, and peaks are no higher, as what one thread has freed
another can use.

Source: mallopt(3), of the GNU C library; other libraries are left as they are.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MEGABYTE = 1024**2

OPTIONS = {
    M_ARENA_MAX: 1,
    M_MMAP_THRESHOLD: 64 * MEGABYTE,  # the largest array of a usual window takes 38
    M_TRIM_THRESHOLD: 128 * MEGABYTE,  # free memory at the heap's end, beyond which it goes back
}


def keep_heap() -> None:
    """Set the C library of this process so; best before it has started threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in OPTIONS.items():
            mallopt(option, value)
