"""The options of `python -m training opinion`."""

from pathlib import Path

from training import commands
from training.options import add_subcommand, count, labelled_folder, port, screen_size, whole


def add_opinion(subparsers) -> None:
    """Add `opinion` with its three steps."""
    parser = add_subcommand(subparsers, "opinion", "ask people in a blind trial of outputs")
    steps = parser.add_subparsers(required=True)

    command = add_subcommand(
        steps, "prepare", "draw pictures and orders of a trial", commands.run_opinion_prepare
    )
    command.add_argument("trial", type=Path, help="folder to write")
    command.add_argument("--test-sets", type=Path, required=True, help="folder of test sets")
    command.add_argument(
        "--set",
        dest="sets",
        metavar="NAME",
        nargs="+",
        required=True,
        help="names of the test sets to use",
    )
    command.add_argument(
        "--output",
        dest="outputs",
        metavar="LABEL=FOLDER",
        type=labelled_folder,
        nargs="+",
        required=True,
        help="outputs to compare, FOLDER/<set>/<name>.png or FOLDER/<name>.png",
    )
    command.add_argument(
        "--design",
        choices=("absolute", "pairs"),
        default="absolute",
        help="score each picture from 1 to 5 (default), or say which of two is better",
    )
    for option, default, meaning in (
        ("--raters", 26, "greatest number of raters"),
        ("--examples", 2, "pictures for practice, which are not rated"),
        ("--anchors", 4, "pictures whose nearest neighbour and HR are shown among the outputs"),
        ("--repeats", 4, "questions that are asked twice"),
    ):
        command.add_argument(
            option,
            type=whole if option == "--raters" else count,
            default=default,
            help=f"{meaning}; default {default}",
        )
    command.add_argument("--pictures", type=whole, help="pictures to rate, drawn; default all")
    command.add_argument(
        "--screen",
        type=screen_size,
        metavar="WIDTHxHEIGHT",
        default="960x540",
        help="greatest size of a picture, px; larger ones are cropped; default 960x540",
    )
    command.add_argument("--seed", type=count, help="the same seed, the same trial; default random")
    command.add_argument(
        "--consent", type=Path, help="text that raters agree to; default: built in"
    )

    command = add_subcommand(
        steps, "serve", "serve the page of a trial", commands.run_opinion_serve
    )
    command.add_argument("trial", type=Path, help="folder that `prepare` wrote")
    command.add_argument("--host", default="127.0.0.1", help="address; default 127.0.0.1")
    command.add_argument("--port", type=port, default=5600, help="TCP port; default 5600")

    command = add_subcommand(
        steps, "report", "write figures and plots of a trial", commands.run_opinion_report
    )
    command.add_argument("trial", type=Path, help="folder that `prepare` wrote")
    command.add_argument("--report", type=Path, help="folder to write; default TRIAL/report")
