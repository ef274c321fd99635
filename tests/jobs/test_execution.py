import hashlib
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import RequestAbandoned
from core.media.medium import PictureUpscaler, Segment
from core.model.card import read_linked_cards
from core.model.registry import ModelRegistry, ServedModel
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.picture import Header, Picture, RestorationFacts
from core.runtime.tile_tasks import RequestDeadline
from core.temporal.coherence import MAX_CACHE_BYTES
from core.temporal.fusion import fusion_bytes
from jobs.execution import file_digest, frame_bytes
from tests.support.stand_ins import (
    LINKED_CARDS,
    lighten,
    make_card,
    make_restorer,
    repeat,
    save_linked_cards,
)

FRAME = Picture(np.full((8, 12, 3), 7, np.uint8))
SEGMENT = Segment(0, 0, 3)


@pytest.fixture
def medium(context, tmp_path):
    (tmp_path / "levels").write_bytes(b"\1\2\3")
    return context.open(tmp_path / "levels", OutputOptions())


def test_the_model_id_changes_with_each_property_of_the_network(context):
    ids = set()
    for changes in ({}, {"name": "x"}, {"version": "2"}, {"sha256": "1" * 64}):
        context.upscaler.card = make_card(**changes)
        ids.add(context.model_id(OutputOptions()))
    assert len(ids) == 4


def test_a_frame_of_a_clip_also_needs_memory_for_earlier_frames(context):
    header = Header(8, 12, channels=3)
    alone, of_clip = (
        frame_bytes(context.upscaler, header, OutputOptions("jpeg", restore=0.0), is_clip=is_clip)
        for is_clip in (False, True)
    )
    grid = context.upscaler.grid(OutputOptions(), 8, 12)
    assert of_clip - alone == MAX_CACHE_BYTES + fusion_bytes(grid)


@pytest.mark.parametrize("is_clip", [False, True])
def test_a_frame_needs_memory_for_the_size_that_is_asked_for(context, is_clip):
    header = Header(480, 640, channels=3)
    small, usual, large = (
        frame_bytes(context.upscaler, header, OutputOptions(scale=scale), is_clip=is_clip)
        for scale in (2, 4, 8)
    )
    assert small < usual < large


def test_the_memory_of_a_frame_is_held_until_the_upscaler_is_closed(context, medium):
    admission = context.admission
    upscale = context.frame_upscaler(medium, SEGMENT, OutputOptions(), RequestDeadline())
    with closing(upscale):
        sr = upscale(FRAME)
        assert admission.taken == upscale.cost(FRAME) > 0
        upscale(FRAME)
        assert admission.taken == upscale.cost(FRAME)
    assert admission.taken == 0
    np.testing.assert_array_equal(sr.pixels, np.full((32, 48, 3), 7, np.uint8))


def test_a_frame_that_waits_for_memory_is_abandoned_with_its_job(context, medium):
    context.admission.queue = 0
    deadline = RequestDeadline(is_gone=lambda: True)
    upscale = context.frame_upscaler(medium, SEGMENT, OutputOptions(), deadline)
    with (
        context.admission.admit(context.admission.budget),
        closing(upscale),
        pytest.raises(RequestAbandoned),
    ):
        upscale(FRAME)
    assert context.admission.taken == 0


def test_a_frame_gets_the_size_that_is_asked_for(context, medium):
    medium.kind = "pictures"
    options = OutputOptions(scale=2.5)
    with closing(context.frame_upscaler(medium, SEGMENT, options, RequestDeadline())) as upscale:
        sr = upscale(FRAME)
        plain = frame_bytes(context.upscaler, Header(8, 12, 3), OutputOptions(), is_clip=False)
        assert upscale.cost(FRAME) != plain
    np.testing.assert_array_equal(sr.pixels, np.full((20, 30, 3), 7, np.uint8))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (OutputOptions(scale=2.0), "holiday_x2.bin"),
        (OutputOptions(scale=1.5), "holiday_x1.5.bin"),
        (OutputOptions(width=1920), "holiday_1920w.bin"),
        (OutputOptions(width=300, height=200), "holiday_300w_200h.bin"),
    ],
)
def test_the_name_of_a_result_states_its_size(context, medium, tmp_path, options, name):
    path = tmp_path / "result"
    path.write_bytes(b"content")
    assert context.describe_result(path, medium, "holiday.mov", options, expires=5.0).name == name


def test_a_result_is_described_by_its_file(context, medium, tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"content")
    result = context.describe_result(path, medium, "holiday.mov", OutputOptions(), expires=5.0)
    assert (result.name, result.mimetype) == ("holiday_x4.bin", "application/octet-stream")
    assert (result.size, result.expires) == (7, 5.0)
    assert result.digest == hashlib.sha256(b"content").hexdigest() == file_digest(path)


@pytest.fixture
def restoring(context):
    """A context whose restorer adds 100 levels."""
    context.upscaler.restorer = make_restorer(lighten)
    return context


def test_the_strength_of_a_clip_is_the_median_of_its_first_frames(restoring, medium, monkeypatch):
    monkeypatch.setattr(
        "core.model.upscaler.recommend_strength", lambda lr: float(lr.pixels[0, 0, 0]) / 10
    )
    assert restoring.decide(medium, OutputOptions()).strength == 0.2
    assert restoring.decide(medium, OutputOptions(restore=0.7)).strength == 0.7
    medium.kind = "pictures"
    assert restoring.decide(medium, OutputOptions()).strength is None


def test_without_a_restorer_no_frame_is_judged(context, medium):
    medium.judged_frames = None
    assert context.decide(medium, OutputOptions()) == OutputOptions()


def test_the_stored_strength_is_used_for_every_frame(restoring, medium, monkeypatch):
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: 1.0)
    options = OutputOptions(strength=0.5)
    with closing(restoring.frame_upscaler(medium, SEGMENT, options, RequestDeadline())) as upscale:
        sr = upscale(FRAME)
    assert (sr.pixels == 57).all()
    assert sr.restoration is None


def test_a_clip_in_an_archive_has_a_strength_of_its_own(restoring, medium, monkeypatch):
    monkeypatch.setattr(
        "core.model.upscaler.recommend_strength", lambda lr: float(lr.pixels[0, 0, 0]) / 10
    )
    medium.kind = "pictures"
    segment = Segment(0, 0, 3, is_clip=True)
    deadline = RequestDeadline()
    with closing(restoring.frame_upscaler(medium, segment, OutputOptions(), deadline)) as upscale:
        sr = upscale(FRAME)
    assert (sr.pixels == 7 + 100 * 0.2).all()
    assert sr.restoration is None


def test_a_restored_picture_has_facts_about_that(restoring, medium):
    medium.kind = "pictures"
    options = OutputOptions(restore=0.5)
    with closing(restoring.frame_upscaler(medium, SEGMENT, options, RequestDeadline())) as upscale:
        assert upscale(FRAME).restoration == RestorationFacts(0.5, 100.0)


def test_restoring_needs_memory(restoring):
    header = Header(8, 12, channels=3)
    plain, restored, auto = (
        frame_bytes(restoring.upscaler, header, OutputOptions(restore=restore), is_clip=False)
        for restore in (0.0, 0.5, "auto")
    )
    assert plain < restored == auto


def test_the_model_id_changes_with_the_restorer(restoring):
    ids = {restoring.model_id(OutputOptions())}
    for restorer in (None, make_restorer(sha256="1" * 64)):
        restoring.upscaler.restorer = restorer
        ids.add(restoring.model_id(OutputOptions()))
    assert len(ids) == 3


@pytest.mark.parametrize("changed", LINKED_CARDS)
def test_the_model_id_changes_with_each_graph_that_may_compute_a_pixel(context, tmp_path, changed):
    ids = set()
    for name in (None, changed):
        cards = read_linked_cards(save_linked_cards(tmp_path, name))
        models = ModelRegistry(ServedModel(Upscaler(make_card(), repeat, window=16, cards=cards)))
        ids.add(replace(context, models=models).model_id(OutputOptions()))
    assert len(ids) == 2


def test_memory_is_reserved_before_a_picture_is_decoded_and_kept_while_others_wait(context, medium):
    medium.kind = "pictures"
    admission = context.admission
    header = Header(8, 12, 3, decoder_bytes=1_000_000)
    with closing(
        context.frame_upscaler(medium, SEGMENT, OutputOptions(), RequestDeadline())
    ) as upscale:
        assert isinstance(upscale, PictureUpscaler)
        upscale.reserve(header)
        reserved = admission.taken
        assert reserved > upscale.cost(FRAME)
        admission._queued.append(SimpleNamespace(is_background=False))  # a picture waits for memory
        upscale(FRAME)
        admission._queued.clear()
        assert admission.taken == reserved
