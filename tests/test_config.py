from dataclasses import fields
from pathlib import Path

import pytest

from config import InvalidSetting, Settings, variable_name


def test_without_an_environment_the_defaults_hold():
    assert Settings.from_env({"HOME": "/root"}) == Settings()


def test_the_environment_overrides_by_name_and_type():
    settings = Settings.from_env(
        {"ENHANCER_WINDOW": "128", "ENHANCER_CARD": "/models/a.json", "CORS_ENABLE": "true"}
    )
    assert settings == Settings(window=128, card=Path("/models/a.json"), cors=True)


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("on", True), ("0", False), ("", False)]
)
def test_switches_take_the_usual_words(text, value):
    assert Settings.from_env({"CORS_ENABLE": text}).cors is value


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"ENHANCER_PRECISION": "float16"},
            "ENHANCER_PRECISION must be one of float32, bfloat16, auto. Received: 'float16'",
        ),
        ({"ENHANCER_WINDOW": "big"}, "ENHANCER_WINDOW must be a whole number. Received: 'big'"),
        ({"ENHANCER_WINDOW": "15"}, "ENHANCER_WINDOW must be at least 64. Received: 15"),
        ({"CORS_ENABLE": "perhaps"}, "CORS_ENABLE must be true or false. Received: 'perhaps'"),
        ({"ENHANCER_WINDOWS": "64"}, "ENHANCER_WINDOW, .* Received: ENHANCER_WINDOWS"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(environ, message):
    with pytest.raises(InvalidSetting, match=message):
        Settings.from_env(environ)


def test_every_setting_is_documented_in_the_readme():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    for field in fields(Settings):
        default = field.default if not isinstance(field.default, Path) else field.default.name
        row = next(line for line in readme.splitlines() if f"`{variable_name(field)}`" in line)
        assert str(default).lower() in row.lower()
        assert field.metadata["description"] in row
