"""The models that requests may choose: one that is always in memory, others loaded on demand.

The memory of a model that is loaded on demand is a `core.runtime.admission.Resident`. A request
that is admitted loads its model in its own thread, or waits for the request that already does. So
requests for other models go on meanwhile.
"""

import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from core.errors import GraphMismatch, GraphUnreadable, InvalidModel, ModelUnavailable
from core.model.restorer import InterpolatedNetwork
from core.model.tiles import Network
from core.model.upscaler import RestoredNetwork, Upscaler
from core.options import LONGEST_QUOTE, OutputOptions, Restore
from core.pixels import WindowArray
from core.runtime.admission import Admission, Resident
from core.runtime.machine import give_back_heap
from core.runtime.tile_tasks import CALLER_CHECK_S, RequestDeadline

MOST_BUDGET_SHARE = 0.5
"""Memory that a model takes at most, in units of the budget, if its windows can be so small. The
rest is for pictures."""

RETRY_LOADING_S = 10
"""Seconds after which a caller may ask again for a model that could not be loaded."""

log = logging.getLogger("enhancer.models")


class LoadedNetworks(NamedTuple):
    """The networks of a model in memory.

    Attributes:
        network: maps an LR window to an SR window.
        memory_bytes: what they take, with the arrays of their largest window.
        window: largest height and width of a window, LR px; None for that of the upscaler.
        interpolated: less detailed networks; None if there are none.
        restored: upscales restored pictures; None for `network`.
    """

    network: Network
    memory_bytes: int
    window: int | None = None
    interpolated: InterpolatedNetwork | None = None
    restored: RestoredNetwork | None = None


LoadNetworks = Callable[[int], LoadedNetworks]
"""Loads networks that take at most a number of bytes, if that can be."""


class ReservationOutgrown(Exception):
    """A model needs more memory than was reserved for it: reserve the new cost, and try again."""


class OnDemandNetworks:
    """The networks of a model, loaded when a request first needs them.

    Args:
        name: of the model.
        load: loads them, with windows for which they take at most a number of bytes, if windows
            can be so small.
        least_bytes: memory that loading them takes, before it is known what they take.

    Attributes:
        on_window: called with the largest height and width of a window, LR px, if the networks
            need smaller windows than their upscaler has.
        resident: their memory.
        error: why they can never be loaded; empty unless that was tried.
    """

    def __init__(self, name: str, load: LoadNetworks, least_bytes: int) -> None:
        self.on_window: Callable[[int], None] = lambda _window: None
        self.error = ""
        self.resident = Resident(least_bytes, self._forget)
        self._name = name
        self._load = load
        self._loaded: LoadedNetworks | None = None
        self._is_loading = False
        self._changed = threading.Condition()

    def run(self, window: WindowArray) -> WindowArray:
        """Upscale a window; the caller is admitted, and the networks are loaded."""
        return self._networks.network(window)

    def run_interpolated(self, window: WindowArray, detail: float) -> WindowArray:
        """Upscale a window at a detail below 1."""
        interpolated = self._networks.interpolated
        return interpolated(window, detail) if interpolated else self.run(window)

    def run_restored(self, window: WindowArray, detail: float, strength: float) -> WindowArray:
        """Upscale a restored window."""
        restored = self._networks.restored
        return restored(window, detail, strength) if restored else self.run(window)

    @property
    def _networks(self) -> LoadedNetworks:
        loaded = self._loaded
        if loaded is None:
            raise GraphMismatch(f"Model `{self._name}` must be in memory. It was evicted.")
        return loaded

    def ensure_loaded(self, admission: Admission, deadline: RequestDeadline) -> None:
        """Load the networks, or wait until another request has loaded them.

        Args:
            admission: has reserved the memory of `resident` for the caller.
            deadline: of the caller.

        Raises:
            GraphMismatch: if they can never be loaded, as was found now or before.
            ModelUnavailable: if they cannot be loaded now.
            ReservationOutgrown: if they take more memory than is reserved.
            DeadlineExceeded, RequestAbandoned: while another request loads them.
        """
        with self._changed:
            while self._is_loading:
                self._changed.wait(CALLER_CHECK_S)
                deadline.check_now()
            if self._loaded is not None:
                return
            if self.error:
                raise GraphMismatch(self.error)
            if not self.resident.held:
                raise ReservationOutgrown
            self._is_loading = True
        try:
            self._bring_in(admission)
        finally:
            with self._changed:
                self._is_loading = False
                self._changed.notify_all()

    def _bring_in(self, admission: Admission) -> None:
        try:
            loaded = self._load(int(MOST_BUDGET_SHARE * admission.budget))
        except Exception as error:  # TensorFlow raises many kinds
            log.error("Model %s cannot be loaded: %s", self._name, error or repr(error))
            admission.drop(self.resident)
            if isinstance(error, GraphMismatch) and not isinstance(error, GraphUnreadable):
                self.error = str(error)
                raise
            raise self._unavailable(error) from error
        give_back_heap()
        if loaded.window is not None:
            self.on_window(loaded.window)
        if admission.grow(self.resident, loaded.memory_bytes):
            self._loaded = loaded
            log.info("Model %s loaded", self._name, extra={"bytes": loaded.memory_bytes})
            return
        del loaded
        admission.drop(self.resident)
        raise ReservationOutgrown

    def _unavailable(self, error: Exception) -> ModelUnavailable:
        """Return the answer to a request that finds no memory for the model, or no files."""
        reason = "The log of the service states why."
        if isinstance(error, GraphUnreadable):
            reason = str(error)
        elif isinstance(error, MemoryError):
            reason = "There is not enough memory."
        return ModelUnavailable(
            "`model` must be one that can be loaded at the moment. "
            f"Received: {self._name!r}. {reason}",
            retry_after_s=RETRY_LOADING_S,
        )

    def _forget(self) -> None:
        """Free the networks. TensorFlow's graphs are parts of reference cycles."""
        if self._loaded is not None:
            log.info("Model %s evicted", self._name)
        self._loaded = None
        gc.collect()
        give_back_heap()


class ServedModel:
    """A model that requests may choose.

    Args:
        upscaler: upscales by its networks.
        networks: which `upscaler` runs; None if it is always in memory.
        cost: arithmetic of an LR pixel; that of the default model is 1.
    """

    def __init__(
        self, upscaler: Upscaler, networks: OnDemandNetworks | None = None, cost: float = 1.0
    ) -> None:
        self.upscaler = upscaler
        self.networks = networks
        self.cost = cost

    @property
    def name(self) -> str:
        """Name by which requests choose it."""
        return self.upscaler.card.name

    @property
    def resident(self) -> Resident | None:
        """Its memory; None if it is always in memory."""
        return None if self.networks is None else self.networks.resident

    @property
    def error(self) -> str:
        """Why it cannot be served; empty if it can, or if that is not known yet."""
        return "" if self.networks is None else self.networks.error

    @contextmanager
    def admit(
        self,
        admission: Admission,
        cost: int,
        deadline: RequestDeadline | None = None,
        *,
        is_background: bool = False,
    ) -> Iterator[None]:
        """Keep the model in memory and `cost` bytes reserved for as long as the block runs.

        If a window of the caller is being computed when the block ends, they stay until it ends.

        Raises:
            InvalidModel: if the model can never be loaded.
            ModelUnavailable: if it cannot be loaded now.
            SuperResolutionError: as `Admission.admit` does, which also describes the arguments.
        """
        deadline = deadline or RequestDeadline()
        reserve = partial(
            admission.admit, cost, deadline, self.resident, is_background=is_background
        )
        stack = self._enter(admission, reserve, deadline)
        try:
            yield
        finally:
            self.upscaler.scheduler.when_idle(deadline, stack.close)

    def _enter(
        self,
        admission: Admission,
        reserve: Callable[[], AbstractContextManager[None]],
        deadline: RequestDeadline,
    ) -> ExitStack:
        while True:
            with ExitStack() as attempt:
                attempt.enter_context(reserve())
                try:
                    if self.networks is not None:
                        self.networks.ensure_loaded(admission, deadline)
                except ReservationOutgrown:
                    continue
                except GraphMismatch as error:
                    raise InvalidModel(
                        f"`model` must be one that can be loaded. Received: {self.name!r}. {error}"
                    ) from error
                return attempt.pop_all()

    def check(self, admission: Admission, cost: int) -> None:
        """Raise TooMuchMemory if model and `cost` are more than the whole budget."""
        admission.check(cost, self.resident)

    def default_restore(self, restore: Restore) -> Restore:
        """Return `restore` of requests that do not state it, given that of the service."""
        return 0.0 if self.upscaler.card.restores else restore


class ModelRegistry:
    """All models of the service, by name.

    Args:
        default: model of requests that name none.
        others: models that requests may name.
        refused: why cards cannot be served, by the name of the card.
    """

    def __init__(
        self,
        default: ServedModel,
        others: Iterable[ServedModel] = (),
        refused: Mapping[str, str] | None = None,
    ) -> None:
        self.default = default
        self._models = {model.name: model for model in (default, *others)}
        self._refused = dict(refused or {})

    @property
    def models(self) -> list[ServedModel]:
        """Models that can be served as far as is known, the default one first."""
        return [model for model in list(self._models.values()) if not model.error]

    @property
    def refused(self) -> dict[str, str]:
        """Why cards cannot be served, by name."""
        failed = {m.name: m.error for m in list(self._models.values()) if m.error}
        return self._refused | failed

    @property
    def names(self) -> list[str]:
        """Names of the models that can be served, the default one first."""
        return [model.name for model in self.models]

    def check(self, options: OutputOptions) -> None:
        """Raise InvalidModel, InvalidDetail or InvalidRestore if options are not available."""
        upscaler = self.find(options.model).upscaler
        upscaler.check_detail(options.detail)
        upscaler.check_restore(options.restore)

    def find(self, name: str | None) -> ServedModel:
        """Return the model of a name; the default one for None.

        Raises:
            InvalidModel: if there is none, or if it cannot be served.
        """
        model = self.default if name is None else self._models.get(name)
        if model is not None and not model.error:
            return model
        name = str(name)
        reason = self.refused.get(name)
        because = f", which cannot be served: {reason}" if reason else ""
        raise InvalidModel(
            f"`model` must be one of {', '.join(self.names)}. "
            f"Received: {name[:LONGEST_QUOTE]!r}{because}"
        )
