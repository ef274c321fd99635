import json
from dataclasses import replace

import pytest

from config import ROOT
from training.loop.recipe import AdversarialSettings, read_recipe

RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read(path):
    recipe = read_recipe(path)
    assert recipe.training.steps > recipe.training.decay_steps
    assert recipe.generator.radius <= 40
    assert recipe.generator.mflop_per_lr_pixel <= 1.6


@pytest.mark.parametrize(
    ("change", "message"),
    [(("filters", "widths"), "widths"), (("[data]", "[date]"), "data")],
)
def test_a_recipe_with_a_misspelt_setting_is_refused(tmp_path, change, message):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPES[0].read_text().replace(*change, 1))
    with pytest.raises(ValueError, match=message):
        read_recipe(path)


@pytest.mark.parametrize("name", ["srresnet", "srgan"])
def test_a_wild_recipe_differs_from_the_clean_one_by_its_degradation(name):
    clean, wild = (read_recipe(RECIPES[0].with_name(f"{name}{x}.toml")) for x in ("", "-wild"))
    assert clean.degradation is None
    assert wild.degradation == read_recipe(RECIPES[0].with_name("srresnet-wild.toml")).degradation
    assert wild.degradation is not None
    data = replace(wild.data, seed=clean.data.seed)
    assert replace(wild, data=data, degradation=None) == clean


def test_an_invalid_degradation_is_refused_with_the_name_of_the_file(tmp_path):
    wild = RECIPES[0].with_name("srresnet-wild.toml").read_text()
    path = tmp_path / "recipe.toml"
    path.write_text(wild.replace("[30, 95]", "[95, 30]", 1))
    with pytest.raises(ValueError, match=r"recipe.toml is not a recipe: `jpeg_quality` must"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": ()}, r"`sizes` must be shares in \(0, 1\], at least one. Received: sizes=\[\]"),
        ({"sizes": (1.0, 0.0)}, r"Received: sizes=\[1.0, 0.0\]"),
        ({"sizes": (1.5,)}, r"Received: sizes=\[1.5\]"),
        ({"drawings": -1}, "`drawings` must be 0 or more. Received: -1"),
    ],
)
def test_invalid_data_settings_are_refused(recipe, settings, message):
    with pytest.raises(ValueError, match=message):
        replace(recipe.data, **settings)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_read_from_json_is_the_same(path, tmp_path):
    recipe = read_recipe(path)
    as_json = tmp_path / "recipe.json"
    as_json.write_text(json.dumps(recipe.as_dict()))
    assert read_recipe(as_json).as_dict() == recipe.as_dict()


@pytest.mark.parametrize("scales", [(), (0.0, 0.0)])
def test_content_scales_need_a_weight_other_than_zero(scales):
    path = RECIPES[0].with_name("srgan.toml")
    with pytest.raises(ValueError, match="content_scales` must hold a weight other than 0"):
        replace(read_recipe(path).adversarial, content_scales=scales)


def test_the_warm_up_begins_when_the_generator_is_trained(recipe):
    settings = AdversarialSettings(0.1, 0.1, 0.1, 4, discriminator_first=5)
    rates = [replace(recipe, adversarial=settings).learning_rate_at(step) for step in range(20)]
    assert rates[:5] == [1e-3] * 5
    assert rates[5:16] == [recipe.learning_rate_at(step) for step in range(11)]
    assert rates[16:] == [recipe.learning_rate_at(step) for step in range(16, 20)]


def test_the_learning_rate_rises_stays_and_falls(recipe):
    rates = [recipe.training.learning_rate_at(step) for step in range(20)]
    assert rates[0] == pytest.approx(0.5e-3)
    assert rates[2:16] == [1e-3] * 14
    assert rates[16:] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_teacher_share_outside_0_to_1_is_refused(recipe, share):
    with pytest.raises(
        ValueError, match=rf"`teacher_share` must be in \[0, 1\]. Received: {share}"
    ):
        replace(recipe.training, teacher_share=share)
