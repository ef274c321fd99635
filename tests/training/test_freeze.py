import hashlib
import http.server
import threading

import numpy as np
import pytest

import training.freeze
from core.card import read_card
from core.graph import load_graph
from core.images import Picture, decode_image, encode_png
from core.pixels import uint8_from_unit, unit_from_uint8
from tests.stand_ins import noise, repeat
from training.evaluate import as_table, bicubic, evaluate, evaluate_card, through_service
from training.freeze import NotEqual, freeze
from training.networks import build_generator
from training.train import start_run, train


@pytest.fixture(scope="module")
def run_folder(photos_folder, tmp_path_factory):
    from tests.training.conftest import TINY

    folder = tmp_path_factory.mktemp("run")
    train(TINY, photos_folder, folder, max_minutes=1)
    return folder


@pytest.fixture
def card_path(recipe, run_folder, photos_folder, tmp_path):
    path = tmp_path / "assets" / "tiny.json"
    freeze(recipe, run_folder, photos_folder, path, version="0.1")
    return path


def test_the_graph_computes_what_the_averaged_weights_compute(recipe, run_folder, card_path):
    run = start_run(recipe, run_folder)
    generator = build_generator(recipe.generator)
    generator.set_weights(run.ema)
    lr = noise(13, 22, seed=3)
    expected = uint8_from_unit(np.asarray(generator(unit_from_uint8(lr)[None]))[0])
    sr = load_graph(card_path)(lr)
    assert np.abs(sr.astype(int) - expected).max() <= 1


def test_the_card_says_what_the_graph_is(recipe, card_path):
    card = read_card(card_path)
    graph = card_path.with_suffix(".pb").read_bytes()
    assert card.sha256 == hashlib.sha256(graph).hexdigest()
    assert (card.name, card.version, card.scale) == ("tiny", "0.1", 4)
    assert card.radius == recipe.generator.radius
    assert card.training["steps"] == 20
    assert card.training["photographs"] + card.training["validation_photographs"] == 40
    assert sum(card.training["licences"].values()) == card.training["photographs"]
    assert f"{card.training['photographs']} photographs" in card.description


def test_a_graph_that_differs_is_not_written(
    recipe, run_folder, photos_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(training.freeze, "FrozenGraph", lambda *_args: repeat)
    with pytest.raises(NotEqual, match="levels"):
        freeze(recipe, run_folder, photos_folder, tmp_path / "tiny.json", version="0.1")
    assert list(tmp_path.iterdir()) == []


def test_bicubic_is_measured_as_resizing_is(test_sets):
    figures = evaluate(bicubic, test_sets / "Set2")
    assert set(figures) == {"psnr_y_db", "ssim_y"}
    assert 5 < figures["psnr_y_db"] < 30


def test_the_figures_are_noted_in_the_card_and_in_the_sums(card_path, test_sets):
    quality = evaluate_card(card_path, test_sets, url=None)
    assert read_card(card_path).quality == quality
    assert set(quality["Set2"]) == {"bicubic", "model"}
    assert as_table(quality).count("| Set2 |") == 2
    for line in (card_path.parent / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        assert hashlib.sha256((card_path.parent / name).read_bytes()).hexdigest() == expected


def test_a_running_service_is_measured_over_http(test_sets):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            data = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encode_png(Picture(repeat(decode_image(data).pixels))))

        def log_message(self, *_args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        figures = evaluate(through_service(url), test_sets / "Set2")
        server.shutdown()
    assert seen == ["/model/predict"] * 2
    expected = evaluate(
        lambda data: encode_png(Picture(repeat(decode_image(data).pixels))), test_sets / "Set2"
    )
    assert figures == expected
