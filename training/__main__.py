"""From photographs to a frozen graph: python -m training COMMAND --help"""

import argparse
import sys
from pathlib import Path

from training.recipe import read_recipe


def main() -> None:
    arguments = parse_arguments()
    arguments.command(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("train", help="train a generator, or go on with a run")
    command.set_defaults(command=run_train)
    command.add_argument("recipe", type=Path, help="TOML file")
    command.add_argument("--photos", type=Path, required=True, help="folder with manifest.csv")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument("--max-minutes", type=float, default=float("inf"))
    command.add_argument("--perceptual", type=Path, help="folder of VGG-19 and LPIPS weights")
    command.add_argument("--start-from", type=Path, help="folder of the run to begin with")

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

    command = commands.add_parser("compare", help="bicubic, model and original side by side")
    command.set_defaults(command=run_compare)
    command.add_argument("card", type=Path, help="JSON file")
    command.add_argument("lr", type=Path, help="small picture")
    command.add_argument("hr", type=Path, help="the original, four times as wide and high")
    command.add_argument("target", type=Path, help="PNG to write")
    return parser.parse_args()


def run_train(arguments: argparse.Namespace) -> None:
    from training.train import train

    train(
        read_recipe(arguments.recipe),
        arguments.photos,
        arguments.run,
        arguments.max_minutes,
        perceptual=arguments.perceptual,
        start_from=arguments.start_from,
    )


def run_freeze(arguments: argparse.Namespace) -> None:
    from training.freeze import freeze

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
    from training.thaw import thaw

    thaw(arguments.card, arguments.run)


def run_evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluate import Evaluation
    from training.figures import as_table

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(Evaluation(**options).run()))


def run_compare(arguments: argparse.Namespace) -> None:
    from training.compare import compare
    from training.outputs import TestPicture

    picture = TestPicture("", arguments.lr, arguments.hr)
    arguments.target.write_bytes(compare(arguments.card, picture))


if __name__ == "__main__":
    main()
