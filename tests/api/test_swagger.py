import re

import pytest

from api.errors import CLIENT_CLOSED_REQUEST, STATUS
from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import make_card, make_restorer, repeat


@pytest.fixture
def document(client):
    return client.get("/swagger.json").json


def test_the_title_is_that_of_the_original_service(document):
    assert document["info"]["title"] == "MAX Image Resolution Enhancer"
    assert [tag["name"] for tag in document["tags"]] == ["model", "jobs", "health", "metrics"]


def test_swagger_ui_is_at_the_root(client):
    response = client.get("/")
    assert response.status_code == 200
    assert "swagger-ui" in response.text


def test_predict_accepts_one_file_and_produces_pictures(document):
    predict = document["paths"]["/model/predict"]["post"]
    image = predict["parameters"][0]
    assert (image["name"], image["in"], image["type"], image["required"]) == (
        "image",
        "formData",
        "file",
        True,
    )
    assert predict["consumes"] == ["multipart/form-data"]
    pictures = ["image/png", "image/jpeg", "image/webp", "image/avif"]
    assert predict["produces"] == [*pictures, "application/json"]


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("detail", "number", 1),
        ("format", "string", "png"),
        ("quality", "integer", None),
        ("profile", "string", "srgb"),
        ("metadata", "string", "drop"),
    ],
)
def test_predict_documents_its_options(document, name, kind, default):
    parameters = document["paths"]["/model/predict"]["post"]["parameters"]
    (option,) = [parameter for parameter in parameters if parameter["name"] == name]
    assert (option["in"], option["type"], option.get("default")) == ("formData", kind, default)
    assert "required" not in option
    assert option["description"]


@pytest.mark.parametrize(("name", "most"), [("detail", 1), ("quality", 100)])
def test_the_range_of_an_option_is_documented(document, name, most):
    parameters = document["paths"]["/model/predict"]["post"]["parameters"]
    (option,) = [parameter for parameter in parameters if parameter["name"] == name]
    assert option["maximum"] == most
    assert "minimum" in option


def test_every_response_has_a_description_and_a_schema_that_is_defined(document):
    for path in document["paths"].values():
        for method in ("get", "post", "delete"):
            for status, response in path.get(method, {}).get("responses", {}).items():
                assert response["description"]
                if status == "204":
                    continue
                name = response["schema"]["$ref"].rsplit("/", 1)[1]
                assert name in document["definitions"]


def test_every_status_of_the_error_table_is_documented(document):
    documented = {
        status
        for path in document["paths"].values()
        for method in ("get", "post", "delete")
        for status in path.get(method, {}).get("responses", ())
    }
    mapped = {str(int(status)) for status in STATUS.values() if status != CLIENT_CLOSED_REQUEST}
    assert mapped <= documented


def test_predict_documents_jobs(document):
    predict = document["paths"]["/model/predict"]["post"]
    headers = [p["name"] for p in predict["parameters"] if p["in"] == "header"]
    assert headers == ["Prefer", "Idempotency-Key"]
    for status in ("202", "422", "507"):
        assert status in predict["responses"]


def test_nullable_fields_are_documented(document):
    job = document["definitions"]["Job"]["properties"]
    nullable = {name for name, field in job.items() if field.get("x-nullable")}
    assert {"started", "error", "result", "position"} <= nullable
    assert not {"id", "state", "frames_done", "links"} & nullable


@pytest.mark.parametrize(
    ("setting", "documented", "stated"),
    [("auto", "auto", "auto"), ("0", "0", 0), ("0.5", "0.5", 0.5), ("1", "1", 1)],
)
def test_the_default_of_restore_is_that_of_the_service(setting, documented, stated):
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=make_restorer())
    app = create_app(Settings(restore=setting, decoders=0), upscaler)
    client = app.test_client()
    document = client.get("/swagger.json").json
    for path in ("/model/predict", "/model/jobs"):
        parameters = document["paths"][path]["post"]["parameters"]
        (option,) = [parameter for parameter in parameters if parameter["name"] == "restore"]
        assert option["default"] == documented
        assert re.fullmatch(option["pattern"], option["default"])
    assert client.get("/model/metadata").json["restore"]["default"] == stated
    app.extensions["enhancer"].jobs.engine.close()
