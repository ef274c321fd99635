"""Measure a model beside interpolation and other systems, and write down what came out."""

from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from core.card import read_card
from training.assets import save_card
from training.figures import (
    FORMATS,
    Means,
    Row,
    as_table,
    choose_metrics,
    mean_figures,
    measure,
    write_into,
    write_report,
)
from training.outputs import (
    Output,
    bicubic,
    from_folder,
    list_peers,
    list_test_pictures,
    list_test_sets,
    through_core,
    through_service,
)
from training.sheets import write_sheet

NOTED = ("bicubic", "model")  # outputs whose figures a card holds


@dataclass(frozen=True)
class Evaluation:
    """What to measure, and where to write it.

    Attributes:
        card: card of the model; its `quality` is rewritten.
        test_sets: folder of test sets.
        perceptual: folder of weights for LPIPS-sq; None to leave that out.
        peers: folder of other systems' outputs; None for none.
        service: URL of a running service to measure through; None for `core`.
        readme: Markdown file with a table of quality; None to leave it alone.
        report: folder for every figure; None for none.
        sheets: folder for contact sheets; None for none.
    """

    card: Path
    test_sets: Path
    perceptual: Path | None = None
    peers: Path | None = None
    service: str | None = None
    readme: Path | None = None
    report: Path | None = None
    sheets: Path | None = None

    def run(self) -> Means:
        """Measure and write; the means over pictures."""
        metrics = choose_metrics(self.perceptual)
        model = through_service(self.service) if self.service else through_core(self.card)
        rows: list[Row] = []
        for test_set in list_test_sets(self.test_sets):
            outputs = self._outputs(test_set, model)
            for picture in tqdm(list_test_pictures(test_set), desc=test_set.name, unit="picture"):
                rows += self._appraise(picture, outputs, metrics)
        self._write(rows)
        return mean_figures(rows)

    def _outputs(self, test_set: Path, model: Output) -> dict[str, Output]:
        peers = list_peers(self.peers, test_set) if self.peers else []
        return {"bicubic": bicubic, **{p.name: from_folder(p) for p in peers}, "model": model}

    def _appraise(self, picture, outputs, metrics):
        """Figures and contact sheet of one picture, upscaled once for both."""
        upscaled = {name: output(picture) for name, output in outputs.items()}
        rows = measure(picture, upscaled, metrics)
        if self.sheets is not None:
            path = self.sheets / picture.test_set / f"{picture.name}.png"
            write_sheet(path, picture, upscaled, {row.output: caption(row) for row in rows})
        return rows

    def _write(self, rows):
        noted = mean_figures([row for row in rows if row.output in NOTED])
        save_card(self.card, replace(read_card(self.card), quality=noted))
        if self.readme is not None:
            write_into(self.readme, as_table(noted))
        if self.report is not None:
            write_report(self.report, rows)


def caption(row: Row) -> str:
    """The figures of a row, as a contact sheet shows them."""
    return "  ".join(FORMATS[key].format(value) for key, value in row.figures.items())
