import pytest

from api.errors import CLIENT_CLOSED_REQUEST, STATUS


@pytest.fixture
def document(client):
    return client.get("/swagger.json").json


def test_the_document_is_titled_as_the_original(document):
    assert document["info"]["title"] == "MAX Image Resolution Enhancer"
    assert [tag["name"] for tag in document["tags"]] == ["model", "jobs", "health", "metrics"]


def test_the_page_is_at_the_root(client):
    response = client.get("/")
    assert response.status_code == 200
    assert "swagger-ui" in response.text


def test_predict_takes_one_file_and_gives_a_png(document):
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
def test_predict_takes_wishes(document, name, kind, default):
    parameters = document["paths"]["/model/predict"]["post"]["parameters"]
    (wish,) = [parameter for parameter in parameters if parameter["name"] == name]
    assert (wish["in"], wish["type"], wish.get("default")) == ("formData", kind, default)
    assert "required" not in wish
    assert wish["description"]


@pytest.mark.parametrize(("name", "most"), [("detail", 1), ("quality", 100)])
def test_the_range_of_a_wish_is_told(document, name, most):
    parameters = document["paths"]["/model/predict"]["post"]["parameters"]
    (wish,) = [parameter for parameter in parameters if parameter["name"] == name]
    assert wish["maximum"] == most
    assert "minimum" in wish


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
    told = {str(int(status)) for status in STATUS.values() if status != CLIENT_CLOSED_REQUEST}
    assert told <= documented


def test_a_picture_may_be_asked_for_as_a_job(document):
    predict = document["paths"]["/model/predict"]["post"]
    headers = [p["name"] for p in predict["parameters"] if p["in"] == "header"]
    assert headers == ["Prefer", "Idempotency-Key"]
    for status in ("202", "422", "507"):
        assert status in predict["responses"]


def test_what_may_be_null_says_so(document):
    job = document["definitions"]["Job"]["properties"]
    nullable = {name for name, field in job.items() if field.get("x-nullable")}
    assert {"started", "error", "result", "position"} <= nullable
    assert not {"id", "state", "frames_done", "links"} & nullable
