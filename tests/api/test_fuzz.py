"""Random requests: no internal error, no slow response, no lasting harm."""

import io
import time
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.fuzzing.mutations import damage
from tests.fuzzing.seeds import built_in_seeds
from tests.support.picture_files import encoded
from tests.support.stand_ins import between, blur_then_repeat, make_card, noise

SEEDS = built_in_seeds()
REFERENCE = encoded(noise(21, 34))
SMALL = encoded(noise(7, 11))
TIMEOUT_S = 5
EXAMPLES = 150

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def client():
    upscaler = Upscaler(
        make_card(faithful="plain"), blur_then_repeat, window=32, interpolated=between
    )
    limits = {"max_pixels": 2000, "max_side": 200, "max_upload_bytes": 20_000}
    return create_app(Settings(memory_mb=16, decoders=0, **limits), upscaler).test_client()


@pytest.fixture(scope="module", autouse=True)
def the_reference_is_answered_as_before(client):
    before = post(client, {"image": (io.BytesIO(REFERENCE), "a.png")}).data
    yield
    assert post(client, {"image": (io.BytesIO(REFERENCE), "a.png")}).data == before


def post(client, data, path="/model/predict", **kwargs):
    """Post, and check what must hold for every response."""
    began = time.monotonic()
    response = client.post(path, data=data, buffered=True, **kwargs)
    assert time.monotonic() - began < TIMEOUT_S
    assert response.status_code < 500
    if response.status_code == 200:
        if path == "/model/predict":
            assert_size_is_true(response)
    else:
        assert response.content_type == "application/json"
        assert isinstance(response.json["message"], str)
    return response


def assert_size_is_true(response):
    """Check the size of a result; without a requested size it is four times that of the input."""
    width, height = (int(side) for side in response.headers["X-Input-Size"].split("x"))
    with Image.open(io.BytesIO(response.data)) as sr:
        assert "{}x{}".format(*sr.size) == response.headers["X-Output-Size"]
        assert response.headers["X-Scale"] != "4" or sr.size == (4 * width, 4 * height)
        assert np.asarray(sr).size


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_undamaged_files_cause_no_internal_error(client, number):
    post(client, {"image": (io.BytesIO(SEEDS[number]), "seed")})


@bounded
@given(random=st.randoms(use_true_random=False))
def test_damaged_files_cause_no_internal_error(client, random):
    post(client, {"image": (io.BytesIO(damage(random, SEEDS)), "damaged")})


FRAGMENTS = [
    b"--x",
    b"--x--",
    b"--",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b'Content-Disposition: form-data; name="image"; filename="a.png"',
    b"Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''%FF%FE",
    b'Content-Disposition: form-data; name="detail"',
    b'Content-Disposition: form-data; name="',
    b"Content-Disposition: form-data",
    b"Content-Type: image/png",
    b"Content-Type: multipart/mixed; boundary=x",
    b"Content-Transfer-Encoding: base64",
    b"Content-Length: -1",
    b":",
    b"0.5",
    b"\xff\xfe",
    REFERENCE,
]

BODIES = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=16).map(b"".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"\r\n".join),
    st.binary(max_size=200),
)

CONTENT_TYPES = st.sampled_from(
    [
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="x',
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/form-data; boundary=\xe9",
        "multipart/form-data; charset=utf-16; boundary=x",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json",
        "image/png",
        ";;;",
        "",
    ]
)


@bounded
@given(body=BODIES, content_type=CONTENT_TYPES)
def test_malformed_bodies_cause_no_internal_error(client, body, content_type):
    post(client, body, content_type=content_type)


VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Content-Encoding",
            "Content-Length",
            "Content-MD5",
            "Cookie",
            "Expect",
            "Forwarded",
            "Host",
            "If-Modified-Since",
            "If-None-Match",
            "Origin",
            "Range",
            "Transfer-Encoding",
            "Upgrade",
            "X-Fields",
            "X-Forwarded-For",
            "X-HTTP-Method-Override",
            "X-Request-Id",
        ]
    ),
    st.one_of(
        VALUES,
        st.sampled_from(
            ["0", "-1", "9" * 30, "chunked", "gzip", "*/*;q=x", "image/avif", "a" * 9000]
        ),
    ),
    max_size=4,
)


@bounded
@given(headers=HEADERS)
def test_odd_headers_cause_no_internal_error(client, headers):
    post(client, {"image": (io.BytesIO(REFERENCE), "a.png")}, headers=headers)


NAMES = ["detail", "format", "quality", "profile", "metadata", "image", "detail ", ""]
SIZES = ["scale", "width", "height", "fit"]
FIELDS = st.dictionaries(
    st.one_of(st.sampled_from(NAMES), st.text(max_size=8)),
    st.one_of(
        st.sampled_from(["jpeg", "webp", "avif", "keep", "0" * 9 + "1" * 5000, "9" * 5000]),
        st.text(max_size=20),
        st.floats().map(str),
        st.integers().map(str),
        st.lists(st.text(max_size=3), max_size=3),
        st.binary(max_size=9).map(lambda data: (io.BytesIO(data), "file")),
    ),
    max_size=4,
)


@bounded
@given(fields=FIELDS, with_image=st.booleans(), name=st.text(max_size=20))
def test_odd_fields_cause_no_internal_error(client, fields, with_image, name):
    image = {"image": (io.BytesIO(REFERENCE), name)} if with_image else {}
    post(client, fields | image, content_type="multipart/form-data")


SIZE_FIELDS = st.dictionaries(
    st.sampled_from(SIZES),
    st.one_of(
        st.sampled_from(
            ["0", "-1", "nan", "1e9", "4,5", "1", "16", "99999999", "cover", "contain"]
        ),
        st.floats(min_value=0.9, max_value=16.1).map(lambda number: f"{number:.3f}"),
        st.integers(min_value=0, max_value=600).map(str),
        st.text(max_size=5),
    ),
    max_size=4,
)


@bounded
@given(
    fields=SIZE_FIELDS,
    target=st.sampled_from(
        [("image", "/model/predict"), ("image", "/model/estimate"), ("file", "/model/estimate")]
    ),
)
def test_odd_sizes_cause_no_internal_error(client, fields, target):
    name, path = target
    small = (io.BytesIO(SMALL), "a.png")
    post(client, {name: small} | fields, path, content_type="multipart/form-data")


@bounded
@given(path=st.text(max_size=30), method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "TRACE"]))
def test_odd_paths_cause_no_internal_error(client, path, method):
    response = client.open(f"/model/{path}", method=method)
    assert response.status_code < 500


def test_the_seeds_cover_every_format_and_damage_changes_them():
    assert {Image.open(io.BytesIO(seed)).format for seed in SEEDS} >= {"PNG", "JPEG", "TIFF", "GIF"}
    random = Random(1)
    assert sum(damage(random, SEEDS) not in SEEDS for _ in range(100)) > 90
