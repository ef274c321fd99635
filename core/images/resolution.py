"""Pixels per inch, wherever a format says it."""

import math

from PIL import Image, ImageFile

from core.images.exif import resolution_of

LEAST_DPI, MOST_DPI = 1, 100_000
"""Outside of these it is a ratio of sides or a mistake, and not a resolution."""

DENSITY_UNITS = (1, 2)
"""Of JFIF: per inch, per centimetre; 0 is a ratio. Source: JFIF 1.02, page 5."""


def read_dpi(image: ImageFile.ImageFile, exif: Image.Exif) -> tuple[float, float] | None:
    """Across and down, as the picture lies in the file; None if it is not told.

    What the format itself says counts before EXIF.
    """
    told = image.info.get("dpi") if _tells_itself(image) else None
    return _sensible(told) or _sensible(resolution_of(exif))


def _tells_itself(image: ImageFile.ImageFile) -> bool:
    """Elsewhere Pillow puts in EXIF's, or what it takes for usual."""
    if image.format in ("JPEG", "MPO"):
        return image.info.get("jfif_unit") in DENSITY_UNITS
    return image.format in ("PNG", "BMP")


def _sensible(dpi: object) -> tuple[float, float] | None:
    try:
        across, down = (float(side) for side in dpi)  # type: ignore[attr-defined]
    except Exception:  # whatever was in the file
        return None
    if all(math.isfinite(side) and LEAST_DPI < side < MOST_DPI for side in (across, down)):
        return across, down
    return None
