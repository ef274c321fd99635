import json
from dataclasses import replace

import pytest

from config import ROOT
from tests.support.recipes import as_toml
from training import CommandFailed
from training.data.degradation import Degradation, DegradationMix
from training.loop.recipe import (
    AdversarialSettings,
    RestoringSettings,
    TeacherSettings,
    describe_weights,
    read_recipe,
)
from training.models.restorer import RestorerArchitecture

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


RESTORERS = [path for path in RECIPES if path.stem.startswith("restorer")]


@pytest.mark.parametrize("path", RESTORERS, ids=lambda path: path.stem)
def test_recipes_of_restorers_differ_in_stage_and_schedule_only(path):
    recipe, first = read_recipe(path), read_recipe(RECIPES[0].with_name("restorer.toml"))
    assert isinstance(recipe.degrader, DegradationMix)
    assert recipe.processes == first.processes
    assert (recipe.restorer, recipe.generator) == (first.restorer, first.generator)
    assert (recipe.restorer.stride, recipe.restorer.radius) == (4, 121)
    assert recipe.restorer.mflop_per_lr_pixel == pytest.approx(0.72, abs=0.001)


@pytest.mark.parametrize("in_cells", [True, ("conv1_2",)])
def test_a_recipe_of_a_restorer_is_the_same_after_writing_and_reading(tmp_path, in_cells):
    recipe = read_recipe(RECIPES[0].with_name("restorer-sr.toml"))
    recipe = replace(recipe, restoring=replace(recipe.restoring, content_in_cells=in_cells))
    path = tmp_path / "recipe.toml"
    path.write_text(as_toml(recipe))
    assert read_recipe(path).as_dict() == recipe.as_dict()


def test_layers_in_cells_must_be_among_the_compared_layers():
    settings = read_recipe(RECIPES[0].with_name("restorer-sr.toml")).restoring
    expected = (
        "`content_in_cells` must be true, false or some of `content_layers` "
        r"\(conv1_2, conv2_2, conv3_1\). Received: \['conv1_2', 'conv4_1'\]"
    )
    with pytest.raises(CommandFailed, match=expected):
        replace(settings, content_in_cells=["conv1_2", "conv4_1"])


def test_a_process_is_chosen_by_its_name():
    recipe = read_recipe(RECIPES[0].with_name("restorer.toml"))
    assert [p.name for p in recipe.choose_processes().processes] == ["wild", "broad", "light"]
    assert [p.name for p in recipe.choose_processes("broad").processes] == ["broad"]
    with pytest.raises(ValueError, match="a process `mild`. Received: wild, broad, light"):
        recipe.choose_processes("mild")
    with pytest.raises(ValueError, match=r"must have \[\[processes\]\]. Received: none"):
        read_recipe(RECIPES[0].with_name("srresnet-wild.toml")).choose_processes()


LR_STAGE = RestoringSettings(grid="lr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": "hr"}, "`grid` must be lr or sr. Received: 'hr'"),
        ({"generator_rate": 0.1}, "`generator_rate` must be 0 with `grid` lr.* Received: 0.1"),
        ({"lattice_share": 0.2}, "`lattice_share` must be 0 with `grid` lr.* Received: 0.2"),
        ({"pixel_share": 0.0, "content_scales": (0.0,)}, "must be above 0. Received: none"),
    ],
)
def test_invalid_stages_of_a_restorer_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(LR_STAGE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restoring": None}, r"both \[restorer\] and \[restoring\]"),
        ({"adversarial": AdversarialSettings(0.1, 0.1, 0.1, 4)}, r"neither \[adversarial\] nor"),
        ({"degradation": Degradation([0, 1], [0, 1], [30, 90], 0.5, 0.5)}, "not both"),
    ],
)
def test_contradicting_tables_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(read_recipe(RECIPES[0].with_name("restorer.toml")), **change)


def test_the_patch_of_a_restorer_must_be_a_multiple_of_its_stride():
    recipe = read_recipe(RECIPES[0].with_name("restorer.toml"))
    with pytest.raises(ValueError, match="multiple of 4, the restorer's stride. Received: 62"):
        replace(recipe, data=replace(recipe.data, patch=62))


def test_every_grid_of_a_restorer_needs_a_number_of_blocks():
    with pytest.raises(ValueError, match=r"one number for each grid. Received: \[8, 8\] and \[1\]"):
        RestorerArchitecture(filters=(8, 8), blocks=(1,))


def test_a_teacher_needs_patches():
    with pytest.raises(ValueError, match="`patches` must be 1 or more. Received: 0"):
        TeacherSettings(name="other", licence="CC0", share=0.5, patches=0)


def test_the_warm_up_of_a_restorer_waits_for_its_discriminator(recipe):
    stage = replace(LR_STAGE, adversarial_share=0.3, discriminator_first=5)
    restorer = RestorerArchitecture(filters=(8, 8), blocks=(1, 1))
    rates = replace(recipe, restorer=restorer, restoring=stage)
    assert [rates.learning_rate_at(step) for step in range(7)][5:] == [
        recipe.learning_rate_at(step) for step in range(2)
    ]


def test_the_description_follows_the_recipe(recipe):
    adversarial = replace(recipe, adversarial=AdversarialSettings(0.1, 0.1, 0.01, 4))
    assert "not adversarially" in describe_weights(recipe, 561)
    assert "not adversarially" not in describe_weights(adversarial, 561)
    assert "561 photographs under free licences, for" in describe_weights(adversarial, 561)
    drawn = replace(recipe, data=replace(recipe.data, drawings=40))
    assert "under free licences and 40 drawings, for" in describe_weights(drawn, 561)


def test_the_description_states_the_degradation(recipe, degradation):
    wild = replace(recipe, degradation=degradation)
    assert "for clean pictures that were made smaller by bicubic" in describe_weights(recipe, 561)
    assert "for small pictures from the wild: blurred, noisy" in describe_weights(wild, 561)
    assert "for clean pictures" not in describe_weights(wild, 561)


def test_the_description_of_a_restorer_names_its_teacher():
    restorer = read_recipe(RECIPES[0].with_name("restorer.toml"))
    assert describe_weights(restorer, 561, restorer.teacher.origin) == (
        "U-Net that cleans a picture on its own grid (blur, noise, compression) before it is "
        "upscaled, trained here on 561 photographs under free licences, "
        "distilled from Real-ESRGAN x4plus."
    )
    assert describe_weights(restorer, 561).endswith("under free licences.")
