from pathlib import Path

import pytest

from config import HIDDEN, InvalidSetting, Settings, describe_settings

KEY = "abcdefghijklmnop"


def test_without_an_environment_the_defaults_hold():
    assert Settings.from_env({"HOME": "/root"}) == Settings()


def test_the_environment_overrides_by_name_and_type():
    settings = Settings.from_env(
        {
            "ENHANCER_WINDOW": "128",
            "ENHANCER_CARD": "/models/a.json",
            "CORS_ENABLE": "true",
            "ENHANCER_DRAIN_S": "2.5",
            "ENHANCER_API_KEYS": f"{KEY}, {KEY[::-1]}",
        }
    )
    assert settings == Settings(
        window=128,
        card=Path("/models/a.json"),
        cors=True,
        drain_s=2.5,
        api_keys=(KEY, KEY[::-1]),
    )


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_list_has_nothing_in_it(text):
    assert Settings.from_env({"ENHANCER_API_KEYS": text}).api_keys == ()


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
        ({"ENHANCER_WINDOW": "15"}, "ENHANCER_WINDOW must be from 64 to 4096. Received: 15"),
        ({"CORS_ENABLE": "perhaps"}, "CORS_ENABLE must be true or false. Received: 'perhaps'"),
        ({"ENHANCER_PORT": "65536"}, "ENHANCER_PORT must be from 1 to 65535. Received: 65536"),
        ({"ENHANCER_HOST": "a b"}, "ENHANCER_HOST must be an IP address or .* Received: 'a b'"),
        ({"ENHANCER_DRAIN_S": "soon"}, "ENHANCER_DRAIN_S must be a number. Received: 'soon'"),
        ({"ENHANCER_DRAIN_S": "-1"}, "ENHANCER_DRAIN_S must be from 0 to 1000000. Received: -1"),
        ({"ENHANCER_JOBS_SHARE": "1"}, "ENHANCER_JOBS_SHARE must be from 0 to 0.9. Received: 1"),
        ({"ENHANCER_JOBS_SHARE": "nan"}, "must be a number. Received: 'nan'"),
        (
            {"ENHANCER_QUEUE_URL": "redis://user:password@host"},
            "ENHANCER_STORAGE_URL must be set if ENHANCER_QUEUE_URL is set: .* Received: ''",
        ),
        (
            {"ENHANCER_QUEUE_URL": "amqp://user:password@host"},
            r"ENHANCER_QUEUE_URL must be empty or the address of .* Received: \(secret\)",
        ),
        ({"ENHANCER_READ_TIMEOUT_S": "nan"}, "must be a number. Received: 'nan'"),
        ({"ENHANCER_WRITE_TIMEOUT_S": "inf"}, "must be a number. Received: 'inf'"),
        (
            {"ENHANCER_READ_TIMEOUT_S": "0"},
            "ENHANCER_READ_TIMEOUT_S must be above 0 and at most 1000000. Received: 0",
        ),
        ({"ENHANCER_RATE_LIMIT": "60"}, "ENHANCER_RATE_LIMIT must be empty, or .* Received: '60'"),
        ({"ENHANCER_RATE_LIMIT": "0/minute"}, "such as 60/minute. Received: '0/minute'"),
        ({"ENHANCER_RATE_LIMIT_STORAGE": "file:///x"}, "ENHANCER_RATE_LIMIT_STORAGE must be mem"),
        ({"ENHANCER_CORS_ORIGINS": "*"}, r"ENHANCER_CORS_ORIGINS must be .* Received: \*"),
        ({"ENHANCER_CORS_ORIGINS": "https://a.org/"}, "Received: https://a.org/"),
        (
            {"ENHANCER_CORS_ORIGINS": "https://a.org", "CORS_ENABLE": "true"},
            "ENHANCER_CORS_ORIGINS must be empty where CORS_ENABLE",
        ),
        ({"ENHANCER_RESTORE": "1.5"}, "ENHANCER_RESTORE must be a number from 0 to 1, or auto. R"),
        ({"ENHANCER_RESTORE": "much"}, "Received: 'much'"),
        ({"ENHANCER_LOG_LEVEL": "loud"}, "ENHANCER_LOG_LEVEL must be one of debug, info"),
        ({"ENHANCER_HOST": "999.1.1.1"}, r"or \* for every address. Received: '999.1.1.1'"),
        ({"ENHANCER_REQUEST_THREADS": "100000"}, "must be from 1 to 4096. Received: 100000"),
        ({"ENHANCER_DECODERS": "-1"}, "ENHANCER_DECODERS must be from 0 to 256. Received: -1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(environ, message):
    with pytest.raises(InvalidSetting, match=message):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    "variable", [item.variable for item in describe_settings() if item.kind in ("int", "float")]
)
def test_numbers_too_large_for_the_system_are_refused(variable):
    """A server with such a number would not start, or answer every request with status 500."""
    with pytest.raises(InvalidSetting, match=f"{variable} must be .* Received: 1"):
        Settings.from_env({variable: f"1{'0' * 18}"})


@pytest.mark.parametrize("text", ["too short", f"{KEY},", f"{KEY},short", "with a space inside"])
def test_a_wrong_key_is_refused_and_not_told(text):
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({"ENHANCER_API_KEYS": text})
    assert "ENHANCER_API_KEYS must be a comma-separated list" in str(refused.value)
    assert str(refused.value).endswith(f"Received: {HIDDEN}")


@pytest.mark.parametrize("name", ["ENHANCER_QUEUE_URL", "ENHANCER_RATE_LIMIT_STORAGE"])
@pytest.mark.parametrize(
    "url", ["redis://user:pass/word@host:6379/0", "redis://:pass#word@host:6379", "redis://[host/0"]
)
def test_an_address_that_cannot_be_parsed_is_refused_and_not_shown(name, url):
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({name: url, "ENHANCER_STORAGE_URL": "/files"})
    assert str(refused.value).startswith(f"{name} must be ")
    assert str(refused.value).endswith(f"Received: {HIDDEN}")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ENHANCER_WINDOWS", "ENHANCER_WINDOW"),
        ("enhancer_port", "ENHANCER_PORT"),
        ("ENHANCE_PORT", "ENHANCER_PORT"),
        ("CORS_ENABLED", "CORS_ENABLE"),
        ("ENABLE_CORS", "CORS_ENABLE"),
        ("DISABLE_JOB", "DISABLE_JOBS"),
        ("DISABLE_WEBAPP", "DISABLE_WEB_APP"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name, nearest):
    with pytest.raises(InvalidSetting, match=rf"; the nearest is {nearest}. Received: {name}$"):
        Settings.from_env({name: "1"})


def test_names_that_are_far_from_all_are_refused_only_with_the_prefix():
    with pytest.raises(InvalidSetting, match="of docs/configuration.md. Received: ENHANCER_QWX$"):
        Settings.from_env({"ENHANCER_QWX": "1"})
    others = ("DISABLE_LOGS", "CORS", "PORT", "ENABLE_JOBS", "CORS_ENABLE_ALL")
    assert Settings.from_env(dict.fromkeys(others, "1")) == Settings()


def test_mistakes_of_all_kinds_are_reported_together():
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env(
            {
                "ENHANCER_WINDOWS": "64",
                "DISABLE_JOB": "1",
                "ENHANCER_PORT": "0",
                "ENHANCER_QUEUE_URL": "redis://host",
                "CORS_ENABLE": "1",
                "ENHANCER_CORS_ORIGINS": "https://a.org",
            }
        )
    lines = str(refused.value).splitlines()
    assert [line.rpartition(" Received: ")[2] for line in lines] == [
        "DISABLE_JOB",
        "ENHANCER_WINDOWS",
        "0",
        "''",
        "https://a.org",
    ]
    assert refused.value.rest.port == 5000
    assert refused.value.rest.cors


@pytest.mark.parametrize("host", ["*", "::1", "127.0.0.1", "localhost", "a-b.example.org"])
def test_a_host_is_an_address_or_a_name(host):
    assert Settings(host=host).host == host


def test_settings_are_told_with_their_origin_and_without_secrets():
    environ = {"ENHANCER_API_KEYS": KEY, "ENHANCER_PORT": "5000"}
    settings = Settings.from_env(environ)
    lines = list(settings.lines(environ))
    assert len(lines) == len(describe_settings())
    assert f"ENHANCER_API_KEYS={HIDDEN} (environment)" in lines
    assert "ENHANCER_PORT=5000 (environment)" in lines
    assert "ENHANCER_DRAIN_S=0 (default)" in lines
    assert "ENHANCER_RATE_LIMIT_STORAGE=memory:// (default)" in lines
    assert KEY not in "".join(lines) + repr(settings)


def test_all_wrong_settings_are_reported_at_once():
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({"ENHANCER_PORT": "0", "ENHANCER_WINDOW": "big", "CORS_ENABLE": "?"})
    assert str(refused.value).splitlines() == [
        "ENHANCER_PORT must be from 1 to 65535. Received: 0",
        "ENHANCER_WINDOW must be a whole number. Received: 'big'",
        "CORS_ENABLE must be true or false. Received: '?'",
    ]


def test_a_frame_is_never_larger_than_a_picture_may_be():
    assert Settings().frame_pixels == 4_000_000 < Settings().max_pixels
    assert Settings(max_pixels=1000).frame_pixels == 1000


def test_the_limit_of_results_can_follow_that_of_pictures():
    assert Settings().output_pixels == 64_000_000
    assert Settings(max_pixels=1000, max_output_pixels=0).output_pixels == 16_000


def test_the_constructor_ignores_the_environment(monkeypatch):
    monkeypatch.setenv("ENHANCER_PORT", "1234")
    assert Settings().port == 5000


def test_every_setting_has_a_description_of_its_own():
    descriptions = [item.description for item in describe_settings()]
    assert all(descriptions)
    assert len(set(descriptions)) == len(descriptions)
