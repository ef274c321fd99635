"""Responses of the service are those of its OpenAPI document."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import between, blur_then_repeat, make_card

NOT_EXPRESSIBLE = [positive_data_acceptance, negative_data_rejection]
"""Checks of what an OpenAPI document cannot express, such as which files are pictures."""

GET = [
    "GET /model/metadata",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /model/progress/{request_id}",
    "GET /model/jobs/{job_id}",
    "GET /model/jobs/{job_id}/result",
    "GET /model/jobs/{job_id}/events",
    "DELETE /model/jobs/{job_id}",
]
POST = ["POST /model/predict", "POST /model/estimate", "POST /model/jobs"]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    upscaler = Upscaler(
        make_card(faithful="plain"), blur_then_repeat, window=32, interpolated=between
    )
    folder = str(tmp_path_factory.mktemp("jobs"))
    settings = Settings(memory_mb=16, decoders=0, max_pixels=2000, jobs_folder=folder)
    app = create_app(settings, upscaler)
    yield schemathesis.openapi.from_wsgi("/swagger.json", app)
    app.extensions["enhancer"].jobs.engine.close()


@pytest.fixture
def operations(document):
    found = [result.ok() for result in document.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_every_operation_is_tested(operations):
    assert set(operations) == {*GET, *POST}


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        *((label, GenerationMode.POSITIVE) for label in GET),
        *((label, GenerationMode.POSITIVE) for label in POST),
        *((label, GenerationMode.NEGATIVE) for label in POST),
    ],
)
def test_responses_match_the_openapi_document(operations, label, mode):
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[label].as_strategy(generation_mode=mode))
    def validate(case):
        case.call_and_validate(excluded_checks=NOT_EXPRESSIBLE)

    validate()
