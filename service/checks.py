"""Check settings and files before the service starts."""

import tempfile
from pathlib import Path

from api.access import UnknownStorage, check_storage
from config import InvalidSetting, Settings
from core.files import MEGABYTE
from core.model.card import (
    faithful_path,
    read_card,
    read_verified_graph,
    restored_path,
    restorer_path,
)
from core.options import AUTO, RESTORE
from jobs.embedded.files import JobFiles
from service.build import create_cluster_backend, jobs_folder


def check_server(settings: Settings) -> None:
    """Check everything that a server needs.

    Raises:
        InvalidSetting: if a setting cannot be used.
        GraphMismatch: if a graph does not match its card.
    """
    check_graphs(settings.card)
    check_restore(settings)
    check_rate_limit(settings)
    check_jobs(settings)


def check_worker(settings: Settings) -> None:
    """Check everything that a worker of a cluster needs.

    Raises:
        InvalidSetting: if there is no queue, or its storage cannot be used.
        GraphMismatch: if a graph does not match its card.
    """
    check_graphs(settings.card)
    if not settings.queue_url:
        raise InvalidSetting(
            "ENHANCER_QUEUE_URL must be set for a worker, to the value that the servers have. "
            "Received: ''"
        )
    check_storage_url(settings)


def check_graphs(card_path: Path) -> None:
    """Check the graph of a card, and those that the card names, by their checksums.

    Raises:
        GraphMismatch: if a graph does not match its card.
    """
    card = read_card(card_path)
    read_verified_graph(card_path, card)
    for find_path in (faithful_path, restorer_path, restored_path):
        other_path = find_path(card_path, card)
        if other_path is not None:
            check_graphs(other_path)


def check_restore(settings: Settings) -> None:
    """Raise InvalidSetting if pictures are to be restored without a restorer."""
    is_asked_for = RESTORE.parse(settings.restore) not in (AUTO, 0)
    if is_asked_for and read_card(settings.card).restorer is None:
        raise InvalidSetting(
            f"ENHANCER_RESTORE must be 0 or auto, as {settings.card} names no restorer. "
            f"Received: {settings.restore!r}"
        )


def check_rate_limit(settings: Settings) -> None:
    """Raise InvalidSetting if the library for the storage of rate limits is not installed."""
    try:
        check_storage(settings.rate_limit_storage)
    except UnknownStorage as error:
        raise InvalidSetting(
            "ENHANCER_RATE_LIMIT_STORAGE must be one whose library is installed. "
            f"Received: one that fails with: {error}"
        ) from error


def check_jobs(settings: Settings) -> None:
    """Raise InvalidSetting if the files of jobs have no usable place."""
    if settings.queue_url:
        check_storage_url(settings)
    elif not settings.no_jobs:
        check_jobs_folder(settings)


def check_storage_url(settings: Settings) -> None:
    """Raise InvalidSetting if the storage is of an unknown kind; no connection is made."""
    try:
        create_cluster_backend(settings)
    except (ImportError, OSError, ValueError) as error:
        raise InvalidSetting(
            "ENHANCER_STORAGE_URL must be a folder or s3://bucket/folder. "
            f"Received: one that fails with: {error}"
        ) from error


def check_jobs_folder(settings: Settings) -> None:
    """Raise InvalidSetting if the folder of jobs cannot be made or written to."""
    folder = jobs_folder(settings)
    try:
        JobFiles(folder, settings.jobs_disk_mb * MEGABYTE).create()
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise InvalidSetting(
            "ENHANCER_JOBS_FOLDER must be a writable folder of this user, or DISABLE_JOBS must be "
            f"set. Received: {folder}, which fails with: {error}"
        ) from error
