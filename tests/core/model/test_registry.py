import threading

import numpy as np
import pytest

from core.errors import (
    GraphMismatch,
    GraphUnreadable,
    InvalidModel,
    ModelUnavailable,
    RequestAbandoned,
    TooMuchMemory,
)
from core.model.registry import LoadedNetworks, ModelRegistry, OnDemandNetworks, ServedModel
from core.model.upscaler import Upscaler
from core.picture import Picture
from core.runtime.admission import Admission
from core.runtime.scheduler import RequestDeadline
from tests.support.stand_ins import make_card, noise, repeat
from tests.support.waiting import wait_until

TIMEOUT_S = 30
BUDGET = 100


def create_admission(budget=BUDGET):
    return Admission(budget=budget, queue=64, backlog_s=lambda: 0.0)


class Loader:
    """Loads a network that repeats pixels; counts how often, and waits for `opened`."""

    def __init__(self, memory_bytes=40, error=None):
        self.times, self.opened = 0, threading.Event()
        self.opened.set()
        self._memory_bytes, self.error = memory_bytes, error

    def __call__(self, _most_bytes):
        self.times += 1
        assert self.opened.wait(TIMEOUT_S)
        if self.error:
            raise self.error
        return LoadedNetworks(repeat, self._memory_bytes)


def create_model(name, loader, least_bytes=10):
    networks = OnDemandNetworks(name, loader, least_bytes)
    upscaler = Upscaler(make_card(name=name), networks.run, window=16)
    return ServedModel(upscaler, networks)


def upscale(model, admission, lr):
    with model.admit(admission, 5):
        return model.upscaler.upscale(Picture(lr)).pixels


@pytest.mark.parametrize("on_demand", [True, False])
def test_memory_is_kept_until_a_window_has_ended_whose_caller_has_left(on_demand):
    entered, opened, has_gone = threading.Event(), threading.Event(), threading.Event()

    def network(window):
        entered.set()
        assert opened.wait(TIMEOUT_S)
        return repeat(window)

    networks = OnDemandNetworks("slow", lambda _most: LoadedNetworks(network, 40), 10)
    run = networks.run if on_demand else network
    upscaler = Upscaler(make_card(name="slow"), run, window=16)
    model = ServedModel(upscaler, networks if on_demand else None)
    admission, deadline = create_admission(), RequestDeadline(is_gone=has_gone.is_set)

    def leave():
        with pytest.raises(RequestAbandoned), model.admit(admission, 5, deadline):
            upscaler.upscale(Picture(noise(9, 9)), deadline=deadline)

    thread = threading.Thread(target=leave)
    thread.start()
    assert entered.wait(TIMEOUT_S)
    has_gone.set()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert admission.taken == (45 if on_demand else 5)
    assert not networks.resident.is_idle  # so it is not evicted
    opened.set()
    wait_until(lambda: admission.taken == (40 if on_demand else 0))
    assert networks.resident.users == 0


def run_threads(count, target):
    threads = [threading.Thread(target=target, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_a_model_is_loaded_when_it_is_first_asked_for_and_stays():
    loader, admission = Loader(), create_admission()
    model, lr = create_model("a", loader), noise(9, 14)
    assert loader.times == 0
    for _ in range(2):
        np.testing.assert_array_equal(upscale(model, admission, lr), repeat(lr))
    assert loader.times == 1
    assert admission.taken == 40


def test_two_requests_at_once_load_a_model_once():
    loader, admission, lr = Loader(), create_admission(), noise(9, 14)
    model, results = create_model("a", loader), []
    loader.opened.clear()
    threads = run_threads(4, lambda _: results.append(upscale(model, admission, lr)))
    wait_until(lambda: model.networks.resident.users == 4)
    loader.opened.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert (loader.times, len(results)) == (1, 4)


def test_clients_that_switch_between_models_get_every_answer_within_the_budget():
    admission, lr = create_admission(), noise(9, 14)
    models = [create_model(name, Loader()) for name in "abcde"]
    answers, most = [], []

    def ask(client):
        for turn in range(3):
            model = models[(client * 3 + turn) % len(models)]
            with model.admit(admission, 5):
                most.append(admission.taken)
                answers.append(model.upscaler.upscale(Picture(lr)).pixels)

    for thread in run_threads(8, ask):
        thread.join(TIMEOUT_S)
    assert len(answers) == 24
    assert max(most) <= BUDGET
    assert all(np.array_equal(answer, repeat(lr)) for answer in answers)


def test_a_model_that_needs_more_than_was_reserved_waits_for_what_it_needs():
    admission, lr = create_admission(), noise(9, 14)
    loader = Loader(memory_bytes=80)
    model = create_model("a", loader)
    with admission.admit(30):  # 10 fit beside it, 80 do not
        thread = threading.Thread(target=upscale, args=(model, admission, lr))
        thread.start()
        wait_until(lambda: loader.times == 1 and admission.waiting == 1)
        assert admission.taken == 30
    thread.join(TIMEOUT_S)
    assert loader.times == 2
    assert admission.taken == 80


def test_a_model_that_turns_out_never_to_fit_is_refused_with_the_numbers():
    admission = create_admission(100_000_000)
    model = create_model("a", Loader(memory_bytes=200_000_000))
    for _ in range(2):
        with pytest.raises(TooMuchMemory, match="the model takes 200 MB"):
            upscale(model, admission, noise(9, 14))
    assert admission.taken == 0
    assert model.networks.resident.users == 0


def test_a_model_that_cannot_be_loaded_is_listed_with_the_reason_and_the_others_serve_on():
    admission, lr = create_admission(), noise(9, 14)
    broken = create_model("broken", Loader(error=GraphMismatch("No graph.")))
    whole = create_model("whole", Loader())
    registry = ModelRegistry(create_model("first", Loader()), [broken, whole])
    with pytest.raises(InvalidModel, match="No graph"):
        upscale(registry.find("broken"), admission, lr)
    assert admission.taken == 0
    assert registry.names == ["first", "whole"]
    assert registry.refused == {"broken": "No graph."}
    with pytest.raises(InvalidModel, match="one of first, whole.*'broken', which cannot.*No graph"):
        registry.find("broken")
    np.testing.assert_array_equal(upscale(registry.find("whole"), admission, lr), repeat(lr))


def test_a_model_that_restores_by_itself_is_not_restored_by_default():
    cards = [make_card(name="plain"), make_card(name="cleans", restores=True)]
    models = [ServedModel(Upscaler(card, repeat, window=16)) for card in cards]
    assert [model.default_restore("auto") for model in models] == ["auto", 0.0]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory"),
        (GraphUnreadable("a.pb must be the graph of a.json."), "a.pb must be"),
        (RuntimeError("can't start new thread"), "log of the service states why"),
    ],
)
def test_a_model_whose_loading_failed_for_a_passing_reason_is_tried_again(error, message):
    admission, loader, lr = create_admission(), Loader(error=error), noise(9, 14)
    model = create_model("a", loader)
    with pytest.raises(
        ModelUnavailable, match=f"at the moment. Received: 'a'.*{message}"
    ) as refused:
        upscale(model, admission, lr)
    assert (refused.value.retry_after_s, model.error, admission.taken) == (10, "", 0)
    loader.error = None
    np.testing.assert_array_equal(upscale(model, admission, lr), repeat(lr))
    assert loader.times == 2
