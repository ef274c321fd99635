"""Measure models beside interpolation and other systems, and write down what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from core.card import read_card
from training.assets import save_card
from training.errors import CommandFailed
from training.figures import (
    FORMATS,
    Means,
    Row,
    as_table,
    choose_metrics,
    mean_figures,
    measure,
    pick_outputs,
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

YARDSTICK = "bicubic"  # the output whose figures a card holds beside the model's own


@dataclass(frozen=True)
class Evaluation:
    """What to measure, and where to write it.

    Attributes:
        cards: of the models, each of another name; their `quality` is rewritten.
        test_sets: folder of test sets.
        perceptual: folder of weights for LPIPS-sq; None to leave that out.
        peers: folder of other systems' outputs; None for none.
        service: URL of a running service to measure the one card through; None for `core`.
        readme: Markdown file with a table of quality; None to leave it alone.
        report: folder for every figure; None for none.
        sheets: folder for contact sheets; None for none.
    """

    cards: Sequence[Path]
    test_sets: Path
    perceptual: Path | None = None
    peers: Path | None = None
    service: str | None = None
    readme: Path | None = None
    report: Path | None = None
    sheets: Path | None = None

    def run(self) -> Means:
        """Measure and write; the means over pictures.

        Raises:
            CommandFailed: if a service is to be measured as several models.
        """
        metrics = choose_metrics(self.perceptual)
        models = self._models()
        rows: list[Row] = []
        for test_set in list_test_sets(self.test_sets):
            outputs = self._outputs(test_set, models)
            for picture in tqdm(list_test_pictures(test_set), desc=test_set.name, unit="picture"):
                rows += self._appraise(picture, outputs, metrics)
        self._write(rows)
        return mean_figures(rows)

    def _models(self) -> dict[str, Output]:
        """What is measured, by the name on its card."""
        if self.service is None:
            return {read_card(card).name: through_core(card) for card in self.cards}
        if len(self.cards) != 1:
            raise CommandFailed(
                f"A service must be measured with one card. Received: {len(self.cards)} cards."
            )
        return {read_card(self.cards[0]).name: through_service(self.service)}

    def _outputs(self, test_set: Path, models: dict[str, Output]) -> dict[str, Output]:
        peers = list_peers(self.peers, test_set) if self.peers else []
        return {YARDSTICK: bicubic, **{p.name: from_folder(p) for p in peers}, **models}

    def _appraise(self, picture, outputs, metrics):
        """Figures and contact sheet of one picture, upscaled once for both."""
        upscaled = {name: output(picture) for name, output in outputs.items()}
        rows = measure(picture, upscaled, metrics)
        if self.sheets is not None:
            path = self.sheets / picture.test_set / f"{picture.name}.png"
            write_sheet(path, picture, upscaled, {row.output: caption(row) for row in rows})
        return rows

    def _write(self, rows):
        means = mean_figures(rows)
        names = {path: read_card(path).name for path in self.cards}
        for path, name in names.items():
            noted = pick_outputs(means, (YARDSTICK, name))
            save_card(path, replace(read_card(path), quality=noted))
        if self.readme is not None:
            shown = pick_outputs(means, (YARDSTICK, *names.values()))
            write_into(self.readme, as_table(shown))
        if self.report is not None:
            write_report(self.report, rows)


def caption(row: Row) -> str:
    """The figures of a row, as a contact sheet shows them."""
    return "  ".join(FORMATS[key].format(value) for key, value in row.figures.items())
