"""Models in a browser: the choice, what it changes, and the comparison of two."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from core.model.registry import LoadedNetworks, OnDemandNetworks, ServedModel
from core.model.upscaler import Upscaler
from tests.support.gestures import choose, expect_result, save, sent_to, wait_until_done
from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import lighten, make_card, make_restorer

BROKEN = {"broken": "broken.json must be a model card."}


def double(lr):
    return lr.repeat(2, axis=0).repeat(2, axis=1)


def invert(lr):
    return np.iinfo(lr.dtype).max - lr.repeat(4, axis=0).repeat(4, axis=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A service with a slow model of scale 2, one that cleans by itself, and a broken one."""
    folder = tmp_path_factory.mktemp("jobs")
    with running(StandInService(folder, restorer=make_restorer(lighten))) as service:
        others = [
            model(service, double, 30.0, name="double", scale=2),
            model(service, invert, 1.0, name="cleans", restores=True),
        ]
        with service.offering(others, BROKEN):
            yield service


def model(service, network, cost, **card):
    default = service.upscaler
    networks = OnDemandNetworks(card["name"], lambda: LoadedNetworks(network, 1000), 1000)
    upscaler = Upscaler(
        make_card(**card, description=f"Describes {card['name']}."),
        networks.run,
        window=64,
        restorer=default.restorer,
        scheduler=default.scheduler,
    )
    return ServedModel(upscaler, networks, cost)


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: 0.5)


def test_the_chosen_model_is_sent_with_what_it_has(page, give, gif, encode, answer, sent):
    picture = encode(Image.effect_noise((150, 120), 90).convert("RGB"))
    options = page.locator("#model option")
    expect(options).to_have_text(["stand-in", "double, 30× the time", "cleans"])
    page.press("#model", "ArrowDown")
    expect(page.locator("#model-note")).to_have_text(
        "Describes double. It takes about 30 times as long as stand-in."
    )
    expect(page.locator("#size-buttons [data-scale='2']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#size-buttons [data-scale='8']")).to_be_disabled()
    give(page, ("cat.png", picture))
    expect_result(page, "300 × 240")
    expect(page.locator("#fact-model")).to_contain_text("double")
    expect(page.locator("#detail-field")).to_be_hidden()
    assert save(page) == ("cat_2x.png", answer(picture, model="double"))
    choose(page, 4)
    expect_result(page, "600 × 480")
    page.select_option("#model", "cleans")
    expect(page.locator("#restore-value")).to_have_text("0.00")
    expect(page.locator("#fact-model")).to_contain_text("cleans")
    expected = answer(picture, model="cleans", scale="4", restore="0")
    assert save(page) == ("cat_4x.png", expected)
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page, 2)
    expect(page.locator("#fact-model")).to_contain_text("cleans")
    page.select_option("#model", "stand-in")
    expect(page.locator("#detail-field")).to_be_visible()
    expect(page.locator("#restore-auto")).to_be_checked()
    page.click("#frames .frame >> nth=0")
    expect(page.locator("#model")).to_have_value("cleans")
    (estimated, *_) = sent_to(sent, "/model/estimate")
    assert "model" in estimated[0]
    (fields, _), *_ = sent_to(sent, "/model/jobs")
    assert "model" in fields


def test_one_model_is_no_choice(open_page, give, picture, service, sent):
    with service.offering([], BROKEN):
        page = open_page()
        give(page, ("cat.png", picture))
        wait_until_done(page)
        expect(page.locator("#model-field")).to_be_hidden()
        expect(page.locator("#model-note")).to_be_hidden()
    assert sent_to(sent, "/model/predict")[0][0] == ["detail", "restore", "format"]
