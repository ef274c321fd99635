"""Turn photographs into a frozen graph: collect, train, freeze, evaluate.

Run `python -m training COMMAND --help` for the options of a command.
"""

import argparse
import sys
from pathlib import Path

from core.errors import SuperResolutionError
from training import CommandFailed, commands
from training.opinion.options import add_opinion
from training.options import add_subcommand, positive, share, whole

INTERRUPTED = 130  # exit status of a shell command that was interrupted


def main() -> None:
    """Run one command; exit with its error message if it fails."""
    arguments = parse_arguments()
    try:
        arguments.command(arguments)
    except (CommandFailed, SuperResolutionError, OSError) as failure:
        sys.exit(f"python -m training: {failure}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def parse_arguments() -> argparse.Namespace:
    """Return the command and its options."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    subparsers = parser.add_subparsers(required=True)
    for add_command in (
        add_download,
        add_prepare,
        add_degrade,
        add_teach,
        add_train,
        add_mix,
        add_freeze,
        add_thaw,
        add_import,
        add_evaluate,
        add_evaluate_video,
        add_evaluate_outside,
        add_compare,
        add_opinion,
    ):
        add_command(subparsers)
    return parser.parse_args()


def add_download(subparsers) -> None:
    """Add `download` with its two sources."""
    parser = add_subcommand(subparsers, "download", "download photographs with their licences")
    sources = parser.add_subparsers(required=True)

    command = add_subcommand(
        sources, "urls", "download the files of a list", commands.run_download_urls
    )
    command.add_argument(
        "list", type=Path, help="text file; a line is URL, tab, licence, tab, author"
    )
    command.add_argument("target", type=Path, help="folder to write")
    command.add_argument("--licence", help="licence of files whose line states none")
    command.add_argument(
        "--requests-per-minute", type=positive, default=60.0, help="greatest rate; default 60"
    )

    command = add_subcommand(
        sources,
        "pixabay",
        "download the results of a Pixabay search",
        commands.run_download_pixabay,
    )
    command.add_argument("target", type=Path, help="folder to write")
    command.add_argument("--query", required=True, help="what to search for")
    command.add_argument("--key", help="API key; default: the variable PIXABAY_API_KEY")
    command.add_argument("--count", type=whole, default=100, help="photographs; default 100")
    command.add_argument(
        "--base-url", default="https://pixabay.com/api/", help="address of the API"
    )
    command.add_argument(
        "--requests-per-minute", type=positive, default=60.0, help="greatest rate; default 60"
    )


def add_prepare(subparsers) -> None:
    """Add `prepare`."""
    command = add_subcommand(
        subparsers, "prepare", "check photographs and write a collection", commands.run_prepare
    )
    command.add_argument("source", type=Path, help="folder of photographs")
    command.add_argument("target", type=Path, help="folder to write: photographs, manifest.csv")
    command.add_argument("--licence", help="licence of files that no table in SOURCE names")
    command.add_argument("--test-sets", type=Path, help="folder of test sets to keep out")
    command.add_argument(
        "--min-side", type=whole, default=192, help="least width and height, px; default 192"
    )
    command.add_argument(
        "--workers", type=whole, help="files to check at the same time; default one per core"
    )
    command.add_argument("--report", type=Path, help="folder for report.html")


def add_degrade(subparsers) -> None:
    """Add `degrade`."""
    command = add_subcommand(
        subparsers, "degrade", "make a set of degraded pictures from HR", commands.run_degrade
    )
    command.add_argument("source", type=Path, help="folder of HR")
    command.add_argument("target", type=Path, help="folder to write: LR and degradation.csv")
    command.add_argument("--recipe", type=Path, required=True, help="TOML file with [[processes]]")
    command.add_argument("--process", help="name of the only process to use; default all")
    command.add_argument("--seed", type=int, default=0, help="another seed, another set; default 0")
    command.add_argument("--sheet", type=Path, help="PNG of 64 degradations beside HR to write")


def add_teach(subparsers) -> None:
    """Add `teach`."""
    command = add_subcommand(
        subparsers,
        "teach",
        "let a teacher upscale patches, for `train --teacher`",
        commands.run_teach,
    )
    command.add_argument("recipe", type=Path, help="TOML file with [teacher]")
    command.add_argument("--photos", type=Path, required=True, help="collection with manifest.csv")
    command.add_argument("--cache", type=Path, required=True, help="folder to fill, or continue")


def add_train(subparsers) -> None:
    """Add `train`."""
    command = add_subcommand(
        subparsers, "train", "train a generator or a restorer, or resume a run", commands.run_train
    )
    command.add_argument("recipe", type=Path, help="TOML file")
    command.add_argument("--photos", type=Path, required=True, help="collection with manifest.csv")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument(
        "--max-minutes", type=float, default=float("inf"), help="time limit; default none"
    )
    command.add_argument("--perceptual", type=Path, help="folder of VGG-19 and LPIPS weights")
    command.add_argument("--start-from", type=Path, help="folder of the run to start from")
    command.add_argument(
        "--through",
        type=Path,
        nargs="+",
        default=[],
        help="folders of runs of the SR networks that a restorer is trained for",
    )
    command.add_argument("--teacher", type=Path, help="folder that `teach` filled")


def add_mix(subparsers) -> None:
    """Add `mix`."""
    command = add_subcommand(subparsers, "mix", "mix the weights of several runs", commands.run_mix)
    command.add_argument(
        "shares",
        metavar="RUN=SHARE",
        type=share,
        nargs="+",
        help="folder of a run and its share; shares sum to 1 and may be negative",
    )
    command.add_argument("--run", type=Path, required=True, help="folder to write")
    command.add_argument("--photos", type=Path, help="collection to validate the mix on")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument(
        "--search",
        metavar="MIXES",
        type=whole,
        help="search for the best shares: judge at most MIXES mixes, starting with the given one",
    )


def add_freeze(subparsers) -> None:
    """Add `freeze`."""
    command = add_subcommand(
        subparsers, "freeze", "export a run as a frozen graph with its card", commands.run_freeze
    )
    command.add_argument("recipe", type=Path, help="TOML file")
    command.add_argument("--photos", type=Path, required=True, help="collection with manifest.csv")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument("--card", type=Path, required=True, help="JSON file to write")
    command.add_argument("--version", required=True, help="version of the weights")
    command.add_argument("--faithful", help="name of the card to serve at `detail` 0")
    command.add_argument("--restorer", help="name of the card of the restorer to serve with it")
    command.add_argument("--restored", help="name of the card to serve at `restore` 1")
    command.add_argument(
        "--tuned",
        action="store_true",
        help="export the SR network that the run of a restorer tuned, instead of the restorer",
    )


def add_thaw(subparsers) -> None:
    """Add `thaw`."""
    command = add_subcommand(
        subparsers, "thaw", "import a graph as a run, to start others from", commands.run_thaw
    )
    command.add_argument("card", type=Path, help="JSON file that `freeze` wrote")
    command.add_argument("--run", type=Path, required=True, help="folder to write")


def add_import(subparsers) -> None:
    """Add `import`."""
    command = add_subcommand(
        subparsers, "import", "convert a published network of PyTorch", commands.run_import
    )
    command.add_argument("file", type=Path, help="weights: a .pth or .safetensors file")
    command.add_argument("card", type=Path, help="JSON file to write; the graph goes beside it")
    command.add_argument("--name", required=True, help="name of the network, as requests state it")
    command.add_argument("--licence", required=True, help="licence of the weights")
    command.add_argument("--source", help="URL of the weights")
    command.add_argument(
        "--restores",
        action="store_true",
        help="the network itself removes noise and traces of compression, as Real-ESRGAN does",
    )
    command.add_argument(
        "--activation",
        choices=("relu", "leakyrelu"),
        help="of an SRVGGNetCompact without PReLU, whose tensors do not show it",
    )
    command.add_argument(
        "--residual-scale",
        type=positive,
        help="weight of the residuals of an EDSR; default 0.1 from 256 filters on, else 1",
    )
    command.add_argument("--replace", action="store_true", help="replace an existing card")


def add_evaluate(subparsers) -> None:
    """Add `evaluate`."""
    command = add_subcommand(
        subparsers, "evaluate", "measure graphs and update their cards", commands.run_evaluate
    )
    command.add_argument("cards", type=Path, nargs="+", help="JSON files; `quality` is rewritten")
    command.add_argument("--test-sets", type=Path, required=True, help="folder of test sets")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument("--peers", type=Path, help="folder of other systems' outputs")
    command.add_argument("--service", help="URL of a running service to measure instead")
    command.add_argument("--readme", type=Path, help="Markdown file whose table to rewrite")
    command.add_argument("--report", type=Path, help="folder for all figures")
    command.add_argument("--sheets", type=Path, help="folder for contact sheets")


def add_evaluate_video(subparsers) -> None:
    """Add `evaluate-video`."""
    command = add_subcommand(
        subparsers, "evaluate-video", "measure a graph on clips", commands.run_evaluate_video
    )
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("--video", type=Path, help="folder of clips, <name>/HR/<frames>")
    command.add_argument("--pans", type=Path, help="folder of PNG files to make pans from")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument("--document", type=Path, help="Markdown file whose table to rewrite")
    command.add_argument("--report", type=Path, help="JSON file for all figures")


def add_evaluate_outside(subparsers) -> None:
    """Add `evaluate-outside`."""
    command = add_subcommand(
        subparsers,
        "evaluate-outside",
        "measure a graph on any pictures, without originals",
        commands.run_evaluate_outside,
    )
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("pictures", type=Path, help="folder of pictures, or of kinds of pictures")
    command.add_argument("--report", type=Path, required=True, help="folder for figures and sheets")
    command.add_argument("--document", type=Path, help="Markdown file whose table to rewrite")


def add_compare(subparsers) -> None:
    """Add `compare`."""
    command = add_subcommand(
        subparsers,
        "compare",
        "write bicubic interpolation and SR side by side, with HR or without and with restoring",
        commands.run_compare,
    )
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("lr", type=Path, help="small picture")
    command.add_argument("target", type=Path, help="PNG file to write")
    third = command.add_mutually_exclusive_group(required=True)
    third.add_argument("--hr", type=Path, help="the original, four times as wide and high")
    third.add_argument(
        "--part",
        type=int,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="part of the small picture, to compare it without and with restoring",
    )


if __name__ == "__main__":
    main()
