"""From photographs to a frozen graph: python -m training COMMAND --help"""

import argparse
import math
import os
import sys
from pathlib import Path

from core.errors import SuperResolutionError
from training.errors import CommandFailed

INTERRUPTED = 130  # exit code, as a shell has it


def main() -> None:
    arguments = parse_arguments()
    try:
        arguments.command(arguments)
    except (CommandFailed, SuperResolutionError, OSError) as failure:
        sys.exit(f"python -m training: {failure}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    add_download(commands)

    command = commands.add_parser("prepare", help="check photographs, write their manifest")
    command.set_defaults(command=run_prepare)
    command.add_argument("source", type=Path, help="folder of photographs")
    command.add_argument("target", type=Path, help="folder to write: photographs, manifest.csv")
    command.add_argument("--licence", help="of all files that no table in the source names")
    command.add_argument("--test-sets", type=Path, help="folder of test sets to keep out")
    command.add_argument("--min-side", type=whole, default=192, help="px; default 192")
    command.add_argument("--workers", type=whole, help="files checked at once")
    command.add_argument("--report", type=Path, help="folder for report.html")

    command = commands.add_parser("train", help="train a generator, or go on with a run")
    command.set_defaults(command=run_train)
    command.add_argument("recipe", type=Path, help="TOML file")
    command.add_argument("--photos", type=Path, required=True, help="folder with manifest.csv")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument("--max-minutes", type=float, default=float("inf"))
    command.add_argument("--perceptual", type=Path, help="folder of VGG-19 and LPIPS weights")
    command.add_argument("--start-from", type=Path, help="folder of the run to begin with")

    command = commands.add_parser("mix", help="mix the weights of several runs")
    command.set_defaults(command=run_mix)
    command.add_argument("shares", metavar="RUN=SHARE", type=share, nargs="+", help="sum is 1")
    command.add_argument("--run", type=Path, required=True, help="folder to write")
    command.add_argument("--photos", type=Path, help="folder with manifest.csv, to judge it with")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument(
        "--search", metavar="MIXES", type=whole, help="try so many, beginning with these shares"
    )

    command = commands.add_parser("freeze", help="turn a run into a graph and its card")
    command.set_defaults(command=run_freeze)
    command.add_argument("recipe", type=Path, help="TOML file")
    command.add_argument("--photos", type=Path, required=True, help="folder with manifest.csv")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument("--card", type=Path, required=True, help="JSON file to write")
    command.add_argument("--version", required=True, help="of the weights")
    command.add_argument("--faithful", help="name of the card at the other end of `detail`")

    command = commands.add_parser("thaw", help="turn a graph into a run to start others from")
    command.set_defaults(command=run_thaw)
    command.add_argument("card", type=Path, help="JSON file, as `freeze` wrote it")
    command.add_argument("--run", type=Path, required=True, help="folder to write")

    command = commands.add_parser("evaluate", help="measure graphs and note it in their cards")
    command.set_defaults(command=run_evaluate)
    command.add_argument("cards", type=Path, nargs="+", help="JSON; `quality` is rewritten")
    command.add_argument("--test-sets", type=Path, required=True, help="folder of test sets")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument("--peers", type=Path, help="folder of other systems' outputs")
    command.add_argument("--service", help="URL of a running service to measure through")
    command.add_argument("--readme", type=Path, help="Markdown file whose table to rewrite")
    command.add_argument("--report", type=Path, help="folder for all figures")
    command.add_argument("--sheets", type=Path, help="folder for contact sheets")

    command = commands.add_parser("evaluate-video", help="measure clips, coherent and not")
    command.set_defaults(command=run_evaluate_video)
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("--video", type=Path, help="folder of clips, <name>/HR/<frames>")
    command.add_argument("--pans", type=Path, help="folder of PNG to make pans over")
    command.add_argument("--perceptual", type=Path, help="folder of weights for LPIPS-sq")
    command.add_argument("--document", type=Path, help="Markdown file whose table to rewrite")
    command.add_argument("--report", type=Path, help="JSON file for all figures")

    command = commands.add_parser("compare", help="bicubic, model and original side by side")
    command.set_defaults(command=run_compare)
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("lr", type=Path, help="small picture")
    command.add_argument("hr", type=Path, help="the original, four times as wide and high")
    command.add_argument("target", type=Path, help="PNG to write")
    return parser.parse_args()


def add_download(commands) -> None:
    parser = commands.add_parser("download", help="photographs from the web, with licences")
    sources = parser.add_subparsers(required=True)

    command = sources.add_parser("urls", help="what a list names")
    command.set_defaults(command=run_download_urls)
    command.add_argument("list", type=Path, help="text file: URL, tab, licence, tab, author")
    command.add_argument("target", type=Path, help="folder to write")
    command.add_argument("--licence", help="of files whose line states none")
    command.add_argument("--requests-per-minute", type=positive, default=60.0)

    command = sources.add_parser("pixabay", help="what Pixabay finds")
    command.set_defaults(command=run_download_pixabay)
    command.add_argument("target", type=Path, help="folder to write")
    command.add_argument("--query", required=True)
    command.add_argument("--key", help="default: the environment's PIXABAY_API_KEY")
    command.add_argument("--count", type=whole, default=100, help="photographs; default 100")
    command.add_argument("--base-url", default="https://pixabay.com/api/")
    command.add_argument("--requests-per-minute", type=positive, default=60.0)


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def share(text: str) -> tuple[Path, float]:
    """A run's folder and a number, as `runs/a=0.5`."""
    folder, _, number = text.rpartition("=")
    if not folder or not math.isfinite(float(number)):
        raise ValueError(text)
    return Path(folder), float(number)


def run_prepare(arguments: argparse.Namespace) -> None:
    from training.data.collect import PhotoRequirements, prepare
    from training.data.report import write_report

    checks = PhotoRequirements(
        arguments.licence, arguments.test_sets, arguments.min_side, arguments.workers
    )
    sys.stdout.write(prepare(arguments.source, arguments.target, checks))
    if arguments.report:
        write_report(arguments.target, arguments.report)


def run_download_urls(arguments: argparse.Namespace) -> None:
    from training.data.download import download_list

    outcome = download_list(
        arguments.list, arguments.target, arguments.licence, arguments.requests_per_minute
    )
    tell(outcome, arguments.target)


def run_download_pixabay(arguments: argparse.Namespace) -> None:
    from training.data.pixabay import PixabaySearch, download_found

    key = arguments.key or os.environ.get("PIXABAY_API_KEY")
    if not key:
        raise CommandFailed("--key or PIXABAY_API_KEY must hold a key of Pixabay. Received: none.")
    search = PixabaySearch(arguments.query, arguments.count, key, arguments.base_url)
    outcome = download_found(search, arguments.target, arguments.requests_per_minute)
    tell(outcome, arguments.target)


def tell(outcome, target: Path) -> None:
    """Say what was downloaded; exit with 1 if something was not."""
    sys.stdout.write(
        f"{outcome.downloaded} downloaded, {outcome.already_there} already there, "
        f"{outcome.failed} failed\n"
    )
    if outcome.failed:
        sys.exit(f"python -m training: see {target / 'failed.csv'}")


def run_train(arguments: argparse.Namespace) -> None:
    from training.loop.recipe import read_recipe
    from training.loop.train import train

    train(
        read_recipe(arguments.recipe),
        arguments.photos,
        arguments.run,
        arguments.max_minutes,
        perceptual=arguments.perceptual,
        start_from=arguments.start_from,
    )


def run_mix(arguments: argparse.Namespace) -> None:
    from training.loop.mix import judge, mix

    shares = dict(arguments.shares)
    if arguments.search:
        from training.loop.mix import search_shares

        if not arguments.photos:
            raise CommandFailed("--search needs --photos, which decide. Received: none.")
        shares = search_shares(shares, arguments.photos, arguments.perceptual, arguments.search)
        sys.stdout.write("".join(f"{run}={share:.4f}\n" for run, share in shares.items()))
    mix(shares, arguments.run)
    if arguments.photos:
        for name, figure in judge(arguments.run, arguments.photos, arguments.perceptual).items():
            sys.stdout.write(f"{name} {figure:.4f}\n")


def run_freeze(arguments: argparse.Namespace) -> None:
    from training.export import freeze
    from training.loop.recipe import read_recipe

    recipe = read_recipe(arguments.recipe)
    freeze(
        recipe,
        arguments.run,
        arguments.photos,
        arguments.card,
        arguments.version,
        arguments.faithful,
    )


def run_thaw(arguments: argparse.Namespace) -> None:
    from training.export import thaw

    thaw(arguments.card, arguments.run)


def run_evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluation.evaluate import Evaluation
    from training.evaluation.outputs import as_table

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(Evaluation(**options).run()))


def run_evaluate_video(arguments: argparse.Namespace) -> None:
    from training.evaluation.evaluate_video import VideoEvaluation, as_table

    if not (arguments.video or arguments.pans):
        raise CommandFailed("--video or --pans must name a folder. Received: neither.")
    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(VideoEvaluation(**options).run()))


def run_compare(arguments: argparse.Namespace) -> None:
    from training.evaluation.evaluate import compare
    from training.evaluation.outputs import TestPicture

    picture = TestPicture("", arguments.lr, arguments.hr)
    arguments.target.write_bytes(compare(arguments.card, picture))


if __name__ == "__main__":
    main()
