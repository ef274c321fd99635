"""What the C library does with memory that has been freed: keep it, or give it back.

By itself it asks the system anew for every large array and hands it back afterwards, and the
system must clear each page again: a tenth to a fifth of the time of a tile. Kept in one heap,
the same pages serve tile after tile, and peaks are no higher, as what one thread has freed
another can use.

It also learns: once a large array has been freed, arrays of that size come from the heap, of
which anything small above them keeps all. Where memory is counted, that is memory lost.

Source: mallopt(3), of the GNU C library; other libraries are left as they are.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MEGABYTE = 1024**2

KEEP = {
    M_ARENA_MAX: 1,
    M_MMAP_THRESHOLD: 64 * MEGABYTE,  # the largest array of a usual window takes 38
    M_TRIM_THRESHOLD: 128 * MEGABYTE,  # free memory at the heap's end, beyond which it goes back
}

GIVE_BACK = {M_MMAP_THRESHOLD: MEGABYTE}  # set once, it is not learned any more


def keep_heap() -> None:
    """Set the C library of this process so; best before it has started threads."""
    _set(KEEP)


def give_back_arrays() -> None:
    """Set the C library of this process to give arrays of a megabyte and more back when freed."""
    _set(GIVE_BACK)


def _set(options: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)
