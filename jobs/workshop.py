"""What every engine needs of the service to look at files and to compute their frames."""

from dataclasses import dataclass
from pathlib import Path

from core.admission import Admission
from core.clips import ClipLimits, ClipWish
from core.media import PICTURES, Medium
from core.picture import Header
from core.scheduler import Patience
from core.upscaler import Upscaler
from jobs.engine import OpenMedium
from jobs.files import digest_of
from jobs.frames import FrameUpscaler, frame_bytes
from jobs.job import JobResult, result_name


@dataclass(frozen=True)
class Workshop:
    """What files are looked at and frames are computed with.

    Attributes:
        upscaler: of the service.
        admission: likewise.
        open_medium: see `jobs.engine.OpenMedium`.
        limits: of media.
        expiry_s: seconds that a job is kept when it has come to its end.
    """

    upscaler: Upscaler
    admission: Admission
    open_medium: OpenMedium
    limits: ClipLimits
    expiry_s: float

    @property
    def model(self) -> str:
        """The network: segments of another one do not go with those of this one."""
        card = self.upscaler.card
        return f"{card.name} {card.version} {card.sha256}"

    def open(self, path: Path, wish: ClipWish) -> Medium:
        """The medium in a file; raises what `jobs.engine.OpenMedium` does."""
        return self.open_medium(path, self.limits, wish)

    def judge(self, path: Path, wish: ClipWish) -> Medium:
        """The medium in a file that was just handed in.

        Raises:
            TooMuchMemory: if its frames need more than there is for all.
            SuperResolutionError: of the file, like `open`.
        """
        medium = self.open(path, wish)
        header = Header(medium.height, medium.width, channels=4)
        is_clip = medium.kind != PICTURES
        self.admission.check(frame_bytes(self.upscaler, header, is_clip=is_clip))
        return medium

    def frame_upscaler(self, medium: Medium, wish: ClipWish, patience: Patience) -> FrameUpscaler:
        """What upscales the frames of a medium; to be closed."""
        return FrameUpscaler(
            self.upscaler,
            self.admission,
            detail=wish.detail,
            is_clip=medium.kind != PICTURES,
            patience=patience,
        )

    def describe_result(self, path: Path, medium: Medium, name: str, expires: float) -> JobResult:
        """What is known of a finished file.

        Args:
            path: of the result.
            medium: that it was made from.
            name: of the file that was handed in.
            expires: seconds since 1970.
        """
        return JobResult(
            name=result_name(name, medium.suffix, self.upscaler.scale),
            mimetype=medium.mimetype,
            size=path.stat().st_size,
            digest=digest_of(path),
            expires=expires,
        )
