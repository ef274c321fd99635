"""Looking into folders that other threads and processes change."""

import os
from pathlib import Path


def files_in(folder):
    """Paths of the files in a folder and below; `Path.rglob` fails where a folder disappears."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
