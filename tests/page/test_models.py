"""Models in a browser: the choice, what it changes, and the comparison of two."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from core.model.registry import LoadedNetworks, OnDemandNetworks, ServedModel
from core.model.upscaler import Upscaler
from tests.support.gestures import choose, expect_result, save, sent_to, wait_until_done
from tests.support.stand_in_service import StandInService, refuse, running
from tests.support.stand_ins import lighten, make_card, make_restorer
from tests.support.waiting import wait_until

SIDES = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return [0.45, 0.55].map((x) => [
    ...context.getImageData(x * canvas.width, canvas.height / 2, 1, 1).data.slice(0, 3)]);
}"""

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
    loaded = LoadedNetworks(service.gated(network), 1000)
    networks = OnDemandNetworks(card["name"], lambda _most_bytes: loaded, 1000)
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
    assert save(page) == ("cat_double_2x.png", answer(picture, model="double"))
    choose(page, 4)
    expect_result(page, "600 × 480")
    page.select_option("#model", "cleans")
    expect(page.locator("#restore-value")).to_have_text("0.00")
    expect(page.locator("#fact-model")).to_contain_text("cleans")
    expected = answer(picture, model="cleans", scale="4", restore="0")
    assert save(page) == ("cat_cleans_4x.png", expected)
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


@pytest.mark.parametrize(
    ("scheme", "width"),
    [pytest.param("light", 1440, marks=pytest.mark.thorough), ("dark", 360)],
)
def test_the_results_of_two_models_are_compared(open_page, give, encode, service, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.select_option("#model", "double")
    give(page, ("red.png", encode(Image.new("RGB", (24, 16), (150, 30, 30)))))
    wait_until_done(page)
    other = page.locator("#rival")
    service.gate.clear()
    other.press("End")
    expect(page.locator("#tag-before")).to_have_text("cleans: computing")
    service.gate.set()
    expect(page.locator("#tag-before")).to_have_text("cleans, 2×")
    expect(page.locator("#tag-after")).to_have_text("double, 2×")
    sides = [[105, 225, 225], [200, 80, 80]]  # inverted without restoring, and restored by half
    wait_until(lambda: page.locator("#canvas").evaluate(SIDES) == sides)
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert service.received == 2
    choose(page, 4)
    expect_result(page, "96 × 64")
    expect(page.locator("#tag-before")).to_have_text("cleans, 4×")
    page.select_option("#model", "cleans")
    expect(page.locator("#tag-before")).to_have_text("your picture")
    expect(page.locator("#fact-model")).to_contain_text("cleans")
    choose(page, 8)
    expect_result(page, "192 × 128")
    expect(other.locator("option")).to_have_text(["Compare models", "stand-in"])


def test_a_model_that_fails_leaves_the_input_beside_the_result(page, give, picture, service):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    service.instead = [refuse(503, "Busy.", Retry_After="1"), refuse(413, "Too large a model.")]
    page.select_option("#rival", "model:double")
    expect(page.locator("#notice")).to_contain_text("Too large a model.")
    expect(page.locator("#tag-before")).to_have_text("your picture")
    expect(page.locator("#rival")).to_have_value("")
    page.select_option("#rival", "model:double")
    expect(page.locator("#tag-before")).to_have_text("double, 4×")
    assert service.received == 4


def test_one_model_is_no_choice(open_page, give, picture, service, sent):
    with service.offering([], BROKEN):
        page = open_page()
        give(page, ("cat.png", picture))
        wait_until_done(page)
        expect(page.locator("#model-field")).to_be_hidden()
        expect(page.locator("#rival")).to_be_hidden()
    assert sent_to(sent, "/model/predict")[0][0] == ["detail", "restore", "format"]
