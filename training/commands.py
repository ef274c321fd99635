"""What each command of `python -m training` does with its options.

Each command imports what it needs when it runs: TensorFlow alone takes seconds.
"""

import argparse
import os
import sys
from pathlib import Path

from training import CommandFailed


def run_download_urls(arguments: argparse.Namespace) -> None:
    """Download the files of a list."""
    from training.data.download import download_list

    outcome = download_list(
        arguments.list, arguments.target, arguments.licence, arguments.requests_per_minute
    )
    print_outcome(outcome, arguments.target)


def run_download_pixabay(arguments: argparse.Namespace) -> None:
    """Download the results of a Pixabay search."""
    from training.data.pixabay import PixabaySearch, download_found

    key = arguments.key or os.environ.get("PIXABAY_API_KEY")
    if not key:
        raise CommandFailed("--key or PIXABAY_API_KEY must hold a key of Pixabay. Received: none.")
    search = PixabaySearch(arguments.query, arguments.count, key, arguments.base_url)
    outcome = download_found(search, arguments.target, arguments.requests_per_minute)
    print_outcome(outcome, arguments.target)


def print_outcome(outcome, target: Path) -> None:
    """Print how many files were downloaded; exit with status 1 if some failed."""
    sys.stdout.write(
        f"{outcome.downloaded} downloaded, {outcome.already_there} already there, "
        f"{outcome.failed} failed\n"
    )
    if outcome.failed:
        sys.exit(f"python -m training: see {target / 'failed.csv'}")


def run_degrade(arguments: argparse.Namespace) -> None:
    """Write a set of degraded pictures, and a sheet of degradations if asked for."""
    from training.data.degraded_sets import degrade_folder, write_sheet_of_degradations
    from training.loop.recipe import read_recipe

    mix = read_recipe(arguments.recipe).choose_processes(arguments.process)
    count = degrade_folder(arguments.source, arguments.target, mix, arguments.seed)
    if arguments.sheet:
        write_sheet_of_degradations(arguments.sheet, arguments.source, mix, arguments.seed)
    sys.stdout.write(f"{count} degraded\n")


def run_prepare(arguments: argparse.Namespace) -> None:
    """Check photographs and write a collection."""
    from training.data.collect import PhotoRequirements, prepare
    from training.data.report import write_report

    requirements = PhotoRequirements(
        arguments.licence, arguments.test_sets, arguments.min_side, arguments.workers
    )
    sys.stdout.write(prepare(arguments.source, arguments.target, requirements))
    if arguments.report:
        write_report(arguments.target, arguments.report)


def run_teach(arguments: argparse.Namespace) -> None:
    """Fill a cache of taught patches; say what is left to do if the teacher is not run here."""
    from training.loop.recipe import read_recipe
    from training.loop.train import teach

    recipe = read_recipe(arguments.recipe)
    teach(recipe, arguments.photos, arguments.cache)
    if recipe.teacher.card is None:
        sys.stdout.write(
            f"Put the SR of {recipe.teacher.name} for every file in {arguments.cache / 'lr'} into "
            f"{arguments.cache / 'sr'}, under the same name but for the suffix.\n"
        )


def run_train(arguments: argparse.Namespace) -> None:
    """Train a generator or a restorer."""
    from training.loop.recipe import read_recipe
    from training.loop.train import train

    train(
        read_recipe(arguments.recipe),
        arguments.photos,
        arguments.run,
        arguments.max_minutes,
        perceptual=arguments.perceptual,
        start_from=arguments.start_from,
        through=arguments.through,
        teacher=arguments.teacher,
    )


def run_mix(arguments: argparse.Namespace) -> None:
    """Mix runs; search for the shares and validate the mix if asked for."""
    from training.loop.mix import mix, search_shares, validate_run

    shares = dict(arguments.shares)
    if arguments.search:
        if not arguments.photos:
            raise CommandFailed("--search needs --photos, which decide. Received: none.")
        shares = search_shares(shares, arguments.photos, arguments.perceptual, arguments.search)
        sys.stdout.write("".join(f"{run}={share:.4f}\n" for run, share in shares.items()))
    mix(shares, arguments.run)
    if arguments.photos:
        figures = validate_run(arguments.run, arguments.photos, arguments.perceptual)
        sys.stdout.write("".join(f"{name} {figure:.4f}\n" for name, figure in figures.items()))


def run_freeze(arguments: argparse.Namespace) -> None:
    """Export a run."""
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
        arguments.restorer,
        restored=arguments.restored,
        is_tuned=arguments.tuned,
    )


def run_thaw(arguments: argparse.Namespace) -> None:
    """Import a graph."""
    from training.export import thaw

    thaw(arguments.card, arguments.run)


def run_import(arguments: argparse.Namespace) -> None:
    """Convert a published network, and print what it is."""
    from training.convert.architectures import Choices
    from training.convert.importer import ImportRequest, describe, import_network

    card = import_network(
        ImportRequest(
            file=arguments.file,
            card=arguments.card,
            name=arguments.name,
            licence=arguments.licence,
            source=arguments.source,
            restores=arguments.restores,
            choices=Choices(arguments.activation, arguments.residual_scale),
            is_replacing=arguments.replace,
        )
    )
    sys.stdout.write(describe(card))


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Measure graphs on test sets, and print the table."""
    from training.evaluation.evaluate import Evaluation, as_table

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(Evaluation(**options).run()))


def run_evaluate_video(arguments: argparse.Namespace) -> None:
    """Measure a graph on clips, and print the table."""
    from training.evaluation.evaluate_video import VideoEvaluation, as_table

    if not (arguments.video or arguments.pans):
        raise CommandFailed("--video or --pans must name a folder. Received: neither.")
    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(VideoEvaluation(**options).run()))


def run_evaluate_outside(arguments: argparse.Namespace) -> None:
    """Measure a graph on any pictures, and print the table."""
    from training.evaluation.evaluate_outside import OutsideEvaluation, as_table

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    sys.stdout.write(as_table(OutsideEvaluation(**options).run()))


def run_compare(arguments: argparse.Namespace) -> None:
    """Write three pictures side by side."""
    from core.model.tiles import Box
    from training.evaluation.outputs import TestPicture, compare, compare_restored

    if arguments.part is None:
        encoded = compare(arguments.card, TestPicture("", arguments.lr, arguments.hr))
    else:
        left, top, right, bottom = arguments.part
        try:
            encoded = compare_restored(arguments.card, arguments.lr, Box(top, left, bottom, right))
        except ValueError as error:
            raise CommandFailed(str(error)) from None
    arguments.target.write_bytes(encoded)


def run_opinion_prepare(arguments: argparse.Namespace) -> None:
    """Write a trial, and print what it asks of a rater."""
    from training.opinion.prepare import Preparation
    from training.opinion.trial import Design

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    labels = [label for label, _ in arguments.outputs]
    if len(set(labels)) < len(labels):
        raise CommandFailed(f"Labels must differ. Received: {', '.join(labels)}.")
    options |= {"outputs": dict(arguments.outputs), "design": Design(arguments.design)}
    sys.stdout.write(Preparation(**options).run())


def run_opinion_serve(arguments: argparse.Namespace) -> None:
    """Serve a trial until interrupted."""
    from training.opinion.server import serve

    serve(arguments.trial, arguments.host, arguments.port)


def run_opinion_report(arguments: argparse.Namespace) -> None:
    """Write the report of a trial, and print it."""
    from training.opinion.report import as_markdown, make_report, write_report

    report = make_report(arguments.trial)
    write_report(arguments.report or arguments.trial / "report", report)
    sys.stdout.write(as_markdown(report))
