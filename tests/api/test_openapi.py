"""The service keeps what its own OpenAPI document promises."""

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
from core.upscaler import Upscaler
from tests.stand_ins import between, blur_then_repeat, make_card

NOT_EXPRESSIBLE = [positive_data_acceptance, negative_data_rejection]
"""A document cannot say which files are pictures, nor a form that a list is empty."""

GET = [
    "GET /model/metadata",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
]
POST = "POST /model/predict"


@pytest.fixture(scope="module")
def document():
    upscaler = Upscaler(
        make_card(faithful="plain"), blur_then_repeat, window=32, interpolated=between
    )
    app = create_app(Settings(memory_mb=16, decoders=0, max_pixels=2000), upscaler)
    return schemathesis.openapi.from_wsgi("/swagger.json", app)


@pytest.fixture
def operations(document):
    found = [result.ok() for result in document.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_every_operation_is_tried(operations):
    assert set(operations) == {*GET, POST}


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        *((label, GenerationMode.POSITIVE) for label in GET),
        (POST, GenerationMode.POSITIVE),
        (POST, GenerationMode.NEGATIVE),
    ],
)
def test_answers_are_those_of_the_document(operations, label, mode):
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
