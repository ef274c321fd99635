"""Check settings and files before the service starts."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from api.access import UnknownStorage, check_storage
from config import ANY_HOST, InvalidSetting, Settings
from core.errors import GraphMismatch
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

NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT}
"""Errors of file systems that have no files without names; network file systems are among them,
and those that hold no files at all, whose size is 0 blocks."""

LEAST_MEMORY_MB = 64
"""Memory below which no picture of a megapixel is admitted, and no decoder starts."""

Check = Callable[[Settings], None]
"""Function that raises InvalidSetting or GraphMismatch."""


def read_settings(check: Callable[[Settings], None]) -> Settings:
    """Return the settings of the environment, checked together with the files that they name.

    Args:
        check: checks what needs more than the settings themselves.

    Raises:
        InvalidSetting: naming each mistake, one a line.
    """
    try:
        settings = Settings.from_env()
    except InvalidSetting as error:
        messages = [str(error), *([] if error.rest is None else mistakes_of([check], error.rest))]
        raise InvalidSetting("\n".join(messages)) from None
    check(settings)
    return settings


def check_server(settings: Settings, *, changes_nothing: bool = False) -> None:
    """Check everything that a server needs.

    Args:
        settings: of the server.
        changes_nothing: whether folders are not created, only judged.

    Raises:
        InvalidSetting: naming each mistake, one a line.
    """
    check_all(
        settings,
        check_card,
        check_models,
        check_restore,
        check_host,
        check_memory,
        check_rate_limit,
        partial(check_jobs, changes_nothing=changes_nothing),
    )


def check_worker(settings: Settings) -> None:
    """Check everything that a worker of a cluster needs.

    Raises:
        InvalidSetting: naming each mistake, one a line; among them that there is no queue.
    """
    checks = (check_card, check_models, check_memory, check_queue, check_metrics_port)
    check_all(settings, *checks)


def check_all(settings: Settings, *checks: Check) -> None:
    """Raise InvalidSetting with the messages of all checks that fail."""
    mistakes = mistakes_of(checks, settings)
    if mistakes:
        raise InvalidSetting("\n".join(dict.fromkeys(mistakes)))


def mistakes_of(checks: Iterable[Check], settings: Settings) -> list[str]:
    """Return the messages of the checks that fail."""
    mistakes = []
    for check in checks:
        try:
            check(settings)
        except (InvalidSetting, GraphMismatch) as error:
            mistakes.append(str(error))
    return mistakes


def check_queue(settings: Settings) -> None:
    """Raise InvalidSetting if a worker has no queue, or no usable storage."""
    if not settings.queue_url:
        raise InvalidSetting(
            "ENHANCER_QUEUE_URL must be set for a worker, to the value that the servers have. "
            "Received: ''"
        )
    check_storage_url(settings, changes_nothing=False)


def check_card(settings: Settings) -> None:
    """Raise GraphMismatch if a graph does not match its card."""
    check_graphs(settings.card)


def check_models(settings: Settings) -> None:
    """Raise InvalidSetting if the folder of models cannot be listed."""
    if settings.models_folder is None:
        return
    rule = "ENHANCER_MODELS must be a folder that can be read."
    with failure_reported(rule, settings.models), os.scandir(settings.models_folder):
        pass


def check_host(settings: Settings) -> None:
    """Raise InvalidSetting if the host is no address of this machine."""
    if settings.host == ANY_HOST:
        return
    rule = "ENHANCER_HOST must be an address or a name of this machine, or *."
    with failure_reported(rule, settings.host):
        for family, kind, _, _, address in socket.getaddrinfo(
            settings.host, 0, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind) as listener:
                listener.bind(address)


def check_metrics_port(settings: Settings) -> None:
    """Raise InvalidSetting if another program has the port of a worker's metrics."""
    rule = "ENHANCER_WORKER_METRICS_PORT must be a free port, or 0 for no metrics."
    port = settings.worker_metrics_port
    with failure_reported(rule, port), socket.create_server(("", port)):
        pass


@contextmanager
def failure_reported(rule: str, received: object) -> Iterator[None]:
    """Raise InvalidSetting where the block fails because of a setting.

    Args:
        rule: what the setting must be, as a sentence.
        received: value of the setting.
    """
    try:
        yield
    except OSError as error:
        raise InvalidSetting(
            f"{rule} Received: {received!r}, which fails with: {error.strerror}"
        ) from error


def check_memory(settings: Settings) -> None:
    """Raise InvalidSetting if the memory is too little for any work."""
    for name in ("memory_mb", "decoder_memory_mb"):
        megabytes = getattr(settings, name)
        if 0 < megabytes < LEAST_MEMORY_MB:
            raise InvalidSetting(
                f"ENHANCER_{name.upper()} must be 0 or at least {LEAST_MEMORY_MB}. "
                f"Received: {megabytes}"
            )


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


def check_jobs(settings: Settings, *, changes_nothing: bool) -> None:
    """Raise InvalidSetting if the files of jobs have no usable place."""
    if settings.no_jobs:
        return
    if settings.queue_url:
        check_storage_url(settings, changes_nothing=changes_nothing)
    else:
        check_jobs_folder(settings, changes_nothing=changes_nothing)


def check_storage_url(settings: Settings, *, changes_nothing: bool) -> None:
    """Raise InvalidSetting if the storage is of an unknown kind, or a folder that cannot be used.

    No connection is made.
    """
    if not settings.storage_url:  # another message says so
        return
    try:
        storage = create_cluster_backend(settings).storage
        if storage.folder is not None:
            check_folder(storage.folder, changes_nothing=changes_nothing)
    except (ImportError, OSError, ValueError) as error:
        raise InvalidSetting(
            "ENHANCER_STORAGE_URL must be a writable folder or s3://bucket/folder. "
            f"Received: one that fails with: {error}"
        ) from error


def check_jobs_folder(settings: Settings, *, changes_nothing: bool) -> None:
    """Raise InvalidSetting if the folder of jobs cannot be made or written to."""
    folder = jobs_folder(settings)
    files = JobFiles(folder, settings.jobs_disk_mb * MEGABYTE)
    try:
        if not changes_nothing:
            files.create()
        elif folder.exists():
            files.check_owner()
        check_folder(folder, changes_nothing=changes_nothing)
    except OSError as error:
        raise InvalidSetting(
            "ENHANCER_JOBS_FOLDER must be a writable folder of this user, or DISABLE_JOBS must be "
            f"set. Received: {folder}, which fails with: {error}"
        ) from error


def check_folder(folder: Path, *, changes_nothing: bool) -> None:
    """Raise OSError if a folder cannot be made or written to.

    Args:
        folder: the folder.
        changes_nothing: whether it is not created; the nearest folder above it is then judged.
    """
    if not changes_nothing:
        folder.mkdir(parents=True, exist_ok=True)
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if exists(path))
    try:
        os.close(os.open(nearest, os.O_TMPFILE | os.O_WRONLY, 0o600))  # a file without a name
    except OSError as error:
        if error.errno not in NO_TMPFILE:
            raise
        if not os.access(nearest, os.W_OK | os.X_OK) or os.statvfs(nearest).f_blocks == 0:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)) from error


def exists(path: Path) -> bool:
    """Return whether a path exists; raise OSError if that cannot be found out."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
