"""Videos of the service, played in a browser."""

import pytest
from playwright.sync_api import expect

from core.media.convert import open_medium
from core.media.medium import plan_segments
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from core.video import video as module
from tests.support.clip_files import LIMITS, repeat, scene, scenes, write_clip

COUNT = 40
RATE = 20

SEEK = """async (seconds) => {
  const video = document.querySelector("video");
  const there = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  video.currentTime = seconds;
  await there;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(canvas.width - 9, canvas.height - 9, 1, 1).data];
}"""


@pytest.fixture
def play(browser):
    """Open a page that contains the clip."""
    context = browser.new_context()
    page = context.new_page()

    def play(path, mimetype):
        page.route(
            "http://clips.test/clip",
            lambda route: route.fulfill(
                body=path.read_bytes(), content_type=mimetype, headers={"Accept-Ranges": "bytes"}
            ),
        )
        page.route(
            "http://clips.test/",
            lambda route: route.fulfill(
                body="<video src=/clip muted preload=auto></video>", content_type="text/html"
            ),
        )
        page.goto("http://clips.test/")
        page.wait_for_function("document.querySelector('video').readyState === 4")
        return page

    yield play
    context.close()


@pytest.mark.parametrize(
    ("name", "codec", "sound", "options"),
    [
        ("clip.mp4", "libx264", "aac", OutputOptions()),
        pytest.param(
            *("clip.webm", "libvpx-vp9", "libopus", OutputOptions()), marks=pytest.mark.thorough
        ),
        pytest.param(
            *("clip.mp4", "libx264", "aac", OutputOptions(codec="av1")), marks=pytest.mark.thorough
        ),
    ],
)
def test_a_browser_plays_the_video_and_finds_every_frame(
    play, tmp_path, monkeypatch, name, codec, sound, options
):
    monkeypatch.setattr(module, "plan_segments", lambda frames: plan_segments(frames, 16))
    source = write_clip(
        tmp_path / name, scenes(COUNT), codec=codec, rate=RATE, sounds=[(sound, "eng")]
    )
    medium = open_medium(source, LIMITS, options, decoder=InProcessDecoder(), scale=4)
    parts = [tmp_path / f"part{segment.index}" for segment in medium.segments()]
    for segment, part in zip(medium.segments(), parts, strict=True):
        medium.render(segment, repeat, part, lambda _done: None)
    medium.join(parts, tmp_path / "result")
    page = play(tmp_path / "result", medium.mimetype)
    video = page.locator("video")
    assert video.evaluate("v => [v.videoWidth, v.videoHeight]") == [192, 128]
    assert abs(video.evaluate("v => v.duration") - COUNT / RATE) < 0.06
    for number in (20, 0, 15, 16, 33, 39):
        red, green, blue, _ = page.evaluate(SEEK, (number + 0.5) / RATE)
        expected = scene(number)[-3, -3]
        assert (
            max(abs(int(e) - got) for e, got in zip(expected, (red, green, blue), strict=True)) < 20
        )
    video.evaluate("v => { v.currentTime = 0; return v.play(); }")
    expect(video).to_have_js_property("ended", True)
