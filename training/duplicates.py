"""Whether a photograph is new: not the same as another one, nor as a test picture."""

from pathlib import Path

from core.errors import SuperResolutionError
from core.images import decode_rgb
from training.checks import Candidate, Refusal
from training.errors import CommandFailed
from training.likeness import Gallery, likeness_of


def read_test_pictures(folder: Path | None) -> Gallery:
    """Every `<set>/HR/*.png` in a folder; nothing without a folder.

    Raises:
        CommandFailed: if the folder holds none, or one cannot be decoded.
    """
    paths = sorted(folder.glob("*/HR/*.png")) if folder else []
    if folder and not paths:
        raise CommandFailed(
            f"--test-sets must be a folder that holds <set>/HR/*.png. Received: {folder}."
        )
    gallery = Gallery(len(paths))
    for path in paths:
        try:
            pixels = decode_rgb(path.read_bytes())
        except (SuperResolutionError, OSError) as error:
            raise CommandFailed(f"{path} must be a picture. {error}") from error
        gallery.add(path.relative_to(folder).as_posix(), likeness_of(pixels))
    return gallery


class Selection:
    """Photographs of which no two show the same, and none a test picture."""

    def __init__(self, test_pictures: Gallery, capacity: int) -> None:
        self._test_pictures = test_pictures
        self._files: dict[str, str] = {}
        self._photographs = Gallery(capacity)

    def admit(self, photo: Candidate, name: str) -> None:
        """Add a photograph.

        Raises:
            Refusal: if it is in already, in whatever size, quality or direction.
        """
        if twin := self._files.get(photo.sha256):
            raise Refusal("duplicate", f"File must be new. Received: the same bytes as {twin}.")
        if twin := self._test_pictures.find(photo.likeness):
            raise Refusal(
                "in a test set", f"Image must be in no test set. Received: one that shows {twin}."
            )
        if twin := self._photographs.find(photo.likeness):
            raise Refusal("near-duplicate", f"Image must be new. Received: one that shows {twin}.")
        self._files[photo.sha256] = name
        self._photographs.add(name, photo.likeness)
