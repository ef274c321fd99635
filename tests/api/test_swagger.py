import pytest

from api.errors import CLIENT_CLOSED_REQUEST, STATUS


@pytest.fixture
def document(client):
    return client.get("/swagger.json").json


def test_the_document_is_titled_as_the_original(document):
    assert document["info"]["title"] == "MAX Image Resolution Enhancer"
    assert [tag["name"] for tag in document["tags"]] == ["model"]


def test_the_page_is_at_the_root(client):
    response = client.get("/")
    assert response.status_code == 200
    assert "swagger-ui" in response.text


def test_predict_takes_one_file_and_gives_a_png(document):
    predict = document["paths"]["/model/predict"]["post"]
    image, _ = predict["parameters"]
    assert (image["name"], image["in"], image["type"], image["required"]) == (
        "image",
        "formData",
        "file",
        True,
    )
    assert predict["consumes"] == ["multipart/form-data"]
    assert predict["produces"] == ["image/png", "application/json"]


def test_predict_takes_a_detail(document):
    _, detail = document["paths"]["/model/predict"]["post"]["parameters"]
    assert (detail["name"], detail["in"], detail["type"]) == ("detail", "formData", "number")
    assert detail["default"] == 1
    assert (detail["minimum"], detail["maximum"]) == (0, 1)
    assert "required" not in detail


def test_every_response_has_a_description_and_a_schema_that_is_defined(document):
    for path in document["paths"].values():
        for method in ("get", "post"):
            for response in path.get(method, {}).get("responses", {}).values():
                assert response["description"]
                name = response["schema"]["$ref"].rsplit("/", 1)[1]
                assert name in document["definitions"]


def test_every_status_of_the_error_table_is_documented(document):
    documented = document["paths"]["/model/predict"]["post"]["responses"]
    told = {str(int(status)) for status in STATUS.values() if status != CLIENT_CLOSED_REQUEST}
    assert told <= set(documented)
