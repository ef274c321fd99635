import inspect
import io
import time
from itertools import count

import pytest
from flask import Flask
from werkzeug.exceptions import ImATeapot

from api.errors import STATUS, status_of
from api.server.connection import RequestTimeout
from app import create_app
from config import Settings
from core import errors
from core.model.upscaler import Upscaler
from jobs import errors as job_errors
from tests.support.stand_ins import make_card, noise


def faulty(_lr):
    raise RuntimeError("a secret path: /srv/models")


@pytest.fixture
def faulty_app():
    return create_app(Settings(decoders=0), Upscaler(make_card(), faulty, window=16))


@pytest.mark.parametrize("testing", [False, True])
def test_an_internal_error_is_a_500_without_details_and_is_logged(
    faulty_app, encode, caplog, testing
):
    faulty_app.testing = testing
    data = {"image": (io.BytesIO(encode(noise(3, 4))), "x.png")}
    response = faulty_app.test_client().post("/model/predict", data=data)
    assert response.status_code == 500
    assert response.json == {"message": "Internal Server Error"}
    failures = [r for r in caplog.records if r.levelname == "ERROR"]
    assert [r.getMessage() for r in failures] == ["Request failed"]
    assert "a secret path" in caplog.text


def test_a_refused_request_is_logged_without_a_traceback(app, post, encode, caplog):
    admission = app.extensions["enhancer"].admission
    admission.queue = 0
    with admission.admit(admission.budget):
        assert post(encode(noise(3, 4))).status_code == 503
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "may wait" in record.getMessage()


def test_an_internal_error_outside_the_api_is_answered_and_logged_alike(app, caplog):
    app.add_url_rule("/elsewhere", view_func=lambda: faulty(None))
    response = app.test_client().get("/elsewhere")
    assert response.status_code == 500
    assert response.json == {"message": "Internal Server Error"}
    assert "a secret path" in caplog.text


def test_the_error_for_an_unknown_path_names_the_known_paths(client):
    response = client.get("/model/nothing")
    assert response.status_code == 404
    assert "/model/predict" in response.json["message"]
    assert "Received: /model/nothing" in response.json["message"]


@pytest.mark.parametrize("path", ["/model/predict", "/model/metadata"])
def test_the_error_for_a_wrong_method_names_the_allowed_methods(client, path):
    response = client.delete(path)
    assert response.status_code == 405
    assert "Received: DELETE" in response.json["message"]
    assert set(response.headers["Allow"].split(", ")) & {"GET", "POST"}


@pytest.mark.parametrize(
    "fields", [[b"x"] * 50_000, [b"x"] * 33, [b"x" * 200_000]], ids=["very many", "many", "long"]
)
def test_too_many_or_too_long_fields_are_refused_with_the_limits(upscaler, fields):
    client = create_app(Settings(decoders=0), upscaler).test_client()
    heads = (b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n' % n for n in count())
    body = b"".join(head + content + b"\r\n" for head, content in zip(heads, fields, strict=False))
    started = time.monotonic()
    response = client.post(
        "/model/predict", data=body + b"--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert time.monotonic() - started < 1
    assert response.status_code == 413
    assert response.json["message"] == (
        "Request must have at most 32 parts, and at most 131072 bytes in the parts that are not "
        "files. Received: more."
    )


def test_a_request_that_arrives_too_slowly_is_a_408(app):
    def view():
        raise RequestTimeout("Request must arrive within 1 s. It did not.")

    app.add_url_rule("/slow", view_func=view)
    response = app.test_client().get("/slow")
    assert response.status_code == 408
    assert response.json == {"message": "Request must arrive within 1 s. It did not."}


def test_any_other_http_error_keeps_its_status_and_description(app):
    def view():
        raise ImATeapot

    app.add_url_rule("/teapot", view_func=view)
    response = app.test_client().get("/teapot")
    assert response.status_code == 418
    assert "teapot" in response.json["message"]


def test_every_error_of_core_that_a_client_can_cause_has_a_status():
    ours = {errors.SuperResolutionError, errors.GraphMismatch, errors.GraphUnreadable}
    ours |= {job_errors.JobError, errors.RetryLater}
    ours |= {job_errors.JobInterrupted, job_errors.SegmentAbandoned}  # of workers
    modules = (errors, job_errors)
    classes = {c for module in modules for _, c in inspect.getmembers(module, inspect.isclass)}
    assert {c for c in classes if issubclass(c, Exception)} - ours == set(STATUS)


def test_the_nearest_ancestor_of_an_error_decides_its_status():
    class StillTooLarge(errors.ImageTooLarge):
        pass

    assert status_of(StillTooLarge()) == 413
    assert status_of(errors.GraphMismatch()) == 500


@pytest.mark.parametrize("path", ["/model/metadata", "/model/predict", "/nope", "/"])
def test_an_invalid_host_header_is_a_client_error(client, path):
    response = client.get(path, headers={"Host": "a" * 64})
    assert response.status_code == 400
    assert response.json["message"]


def test_two_applications_share_nothing(app, faulty_app):
    assert isinstance(app, Flask)
    metadata = [a.test_client().get("/model/metadata").json["limits"] for a in (app, faulty_app)]
    assert metadata[0] != metadata[1]
