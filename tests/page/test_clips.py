"""Clips and archives in a browser, from the file to the saved result."""

import io
import subprocess
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.animations import gif as gif_of
from tests.support.animations import image
from tests.support.clip_files import scenes, write_clip
from tests.support.gestures import divider_at, expect_result, save, wait_until_done
from tests.support.stand_in_service import StandInService, refuse, running
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

FRAMES = 4
IN_STEP = """() => {
  const [before, after] = document.querySelectorAll("#reels video");
  return !before.paused && !after.paused && before.muted && after.muted
    && after.currentTime > 0.2 && Math.abs(before.currentTime - after.currentTime) < 0.15;
}"""


@pytest.fixture
def video(tmp_path):
    return write_clip(tmp_path / "clip.mp4", scenes(20), rate=10).read_bytes()


@pytest.fixture
def archive(picture):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pictures:
        pictures.writestr("a.png", picture)
        pictures.writestr("notes.txt", "Hello, world")
    return file.getvalue()


@pytest.fixture
def result(service):
    """Return the result of a job that the service runs without the page."""

    def result(data, name, **fields):
        client = service.app.test_client()
        form = {"file": (io.BytesIO(data), name), **fields}
        job = client.post("/model/jobs", data=form).headers["Location"]
        wait_until(lambda: client.get(job).json["finished"])
        found = client.get(f"{job}/result").data
        client.delete(job)
        return found

    return result


def job_ids(page):
    """Return the ids of the jobs that the page has stored."""
    return list(page.evaluate("JSON.parse(localStorage.getItem('enhancer-jobs') ?? '{}')"))


def state_of(service, job_id):
    """Return the state of a job; None if it does not exist."""
    return service.app.test_client().get(f"/model/jobs/{job_id}").json.get("state")


def test_an_animation_is_compared_and_saved_as_the_service_made_it(
    page, give, gif, result, service
):
    service.gate.clear()
    give(page, ("cat.gif", gif), media_type="image/gif")
    expect(page.locator("#working-text")).to_have_text(f"0 of {FRAMES} frames.")
    service.gate.set()
    wait_until_done(page)
    expect(page.locator("#reels img")).to_have_count(2)
    page.press("#divider", "PageUp")
    page.wait_for_timeout(60)
    assert divider_at(page) == 60
    cuts = page.locator("#reels img").evaluate_all("(all) => all.map((e) => e.style.clipPath)")
    assert cuts == ["inset(0% 40% 0% 0%)", "inset(0% 0% 0% 60%)"]
    assert "96 × 64" in page.locator("#fact-result").inner_text()
    assert save(page) == ("cat_x4.gif", result(gif, "cat.gif"))


def test_an_animation_and_its_result_play_in_sync(page, give, encode):
    colours = [Image.new("RGB", (24, 16), (20 * number, 120, 0)) for number in range(12)]
    gif = encode(colours[0], "GIF", save_all=True, append_images=colours[1:], duration=100, loop=0)
    give(page, ("colours.gif", gif), media_type="image/gif")
    for seen in (1, 2):
        wait_until_done(page)
        for _ in range(3):
            page.wait_for_timeout(370)
            shot = Image.open(io.BytesIO(page.locator("#seen").screenshot())).convert("RGB")
            left, right = (shot.getpixel((x * shot.width // 4, shot.height // 4)) for x in (1, 3))
            assert abs(left[0] - right[0]) <= 22, seen  # a frame at most
        page.click("#coherence")
        expect(page.locator("#frames li[data-stage=done]")).to_have_count(0)


def test_a_video_plays_beside_its_result(page, give, video, result):
    give(page, ("clip.mp4", video), media_type="video/mp4")
    wait_until_done(page)
    page.wait_for_function(IN_STEP)
    name, saved = save(page)
    assert (name, saved) == ("clip_x4.mp4", result(video, "clip.mp4"))
    page.click("#play")
    expect(page.locator("#reels")).to_be_hidden()
    assert page.locator("#reels video").evaluate_all("(all) => all.every((e) => e.paused)")


def test_an_archive_gives_an_archive_and_lists_skipped_files(page, give, archive, result):
    give(page, ("photos.zip", archive), media_type="application/zip")
    wait_until_done(page)
    expect(page.locator("#unshown")).to_be_visible()
    expect(page.locator("#fact-damage")).to_contain_text("1 file is left out")
    expect(page.locator("#coherence-field")).to_be_hidden()
    assert save(page) == ("photos_x4.zip", result(archive, "photos.zip"))


def test_a_still_gif_is_a_picture(page, give, encode, answer):
    still = encode(Image.fromarray(noise(16, 24)), "GIF")
    give(page, ("still.gif", still), media_type="image/gif")
    wait_until_done(page)
    assert save(page) == ("still_4x.png", answer(still))


def test_a_gif_without_graphic_controls_is_an_animation(page, give):
    frames = [image([[level] * 9] * 7) for level in (0, 1)]
    give(page, ("old.gif", gif_of(*frames, size=(7, 9), version=b"GIF87a")), media_type="image/gif")
    expect_result(page, "36 × 28")
    assert page.locator("#play").is_visible()


@pytest.mark.parametrize(("name", "file_format"), [("a.png", "PNG"), ("a.webp", "WEBP")])
def test_other_animations_are_recognised_by_their_first_bytes(
    page, give, encode, name, file_format
):
    frames = [Image.fromarray(noise(16, 24, seed=seed)) for seed in range(2)]
    moving = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    give(page, (name, moving))
    wait_until_done(page)
    expect(page.locator("#reels img")).to_have_count(2)


def test_a_clip_can_be_saved_in_another_format(page, give, gif, result, service):
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    formats = page.locator("#format option").evaluate_all("(all) => all.map((e) => e.value)")
    assert formats == ["gif", "webp", "apng", "mp4", "mov", "webm", "mkv"]
    page.select_option("#format", "webp")
    assert save(page) == ("cat_x4.webp", result(gif, "cat.gif", format="webp"))
    (job_id,) = job_ids(page)  # that of the other format is gone
    assert state_of(service, job_id) == "succeeded"


def test_detail_and_coherence_are_sent(page, give, gif, result):
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    page.uncheck("#coherence")
    page.press("#detail", "Home")
    expect(page.locator("#frames li[data-stage=done]")).to_have_count(0)
    wait_until_done(page)
    assert save(page)[1] == result(gif, "cat.gif", detail="0", coherence="off")


def test_cancelling_deletes_the_job(page, give, gif, service):
    service.gate.clear()
    give(page, ("cat.gif", gif), media_type="image/gif")
    expect(page.locator("#working-text")).to_contain_text("frames.")
    (job_id,) = job_ids(page)
    page.click("#cancel")
    expect(page.locator("#problem-title")).to_have_text("Cancelled.")
    wait_until(lambda: state_of(service, job_id) is None)
    assert job_ids(page) == []
    service.gate.set()
    page.click("#retry")
    wait_until_done(page)


def test_a_waiting_job_shows_its_position(page, give, gif, service):
    service.gate.clear()
    words = ("0 of 4 frames.", "1 job before yours.", "2 jobs before yours.")
    for number, text in enumerate(words):
        give(page, (f"{number}.gif", gif), media_type="image/gif")
        expect(page.locator("#working-text")).to_have_text(text)
    service.gate.set()
    wait_until_done(page, 3)


def test_a_reloaded_page_restores_its_jobs(page, give, gif, result, service):
    service.gate.clear()
    give(page, ("cat.gif", gif), media_type="image/gif")
    expect(page.locator("#working-text")).to_contain_text("frames.")
    page.reload()
    expect(page.locator("#frames li")).to_have_count(1)
    expect(page.locator("#working-text")).to_contain_text("frames.")
    service.gate.set()
    wait_until_done(page)
    expect(page.locator("#detail-field")).to_be_hidden()
    expect(page.locator("#reels img")).to_have_count(1)
    assert save(page) == ("cat_x4.gif", result(gif, "cat.gif"))
    (job_id,) = job_ids(page)
    page.click("[aria-label='Remove cat.gif']")
    wait_until(lambda: state_of(service, job_id) is None)
    page.reload()
    expect(page.locator("#about-model")).not_to_be_empty()
    expect(page.locator("#roll")).to_be_hidden()


def test_expired_jobs_disappear_without_a_message(page):
    page.evaluate("""localStorage.setItem("enhancer-jobs", '{"gone": "a.gif"}')""")
    page.reload()
    page.wait_for_function("() => localStorage.getItem('enhancer-jobs') === '{}'")
    expect(page.locator("#roll")).to_be_hidden()
    expect(page.locator("#notice")).to_be_hidden()


def test_a_busy_service_is_asked_again(page, give, gif, service):
    service.instead = [refuse(507, "No room.", Retry_After="1")]
    give(page, ("cat.gif", gif), media_type="image/gif")
    expect(page.locator("#working-text")).to_contain_text("has no room for this file.")
    wait_until_done(page)


def test_a_file_that_is_not_a_clip_is_a_problem(page, give):
    give(page, ("clip.mp4", b"Hello, world"), media_type="video/mp4")
    expect(page.locator("#problem-title")).to_have_text("This file cannot be read.")
    expect(page.locator("#problem-message")).to_contain_text("Hello, w")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("long.mp4", "video of 6 s", "It has 6.0 s; the limit is 5.0 s."),
        ("large.zip", bytes(160_000), "It has 160 kB; the limit is 148 kB."),
    ],
)
def test_files_beyond_the_limits_are_not_sent(page, give, service, tmp_path, name, content, why):
    if name == "long.mp4":
        content = write_clip(tmp_path / name, scenes(60), rate=10).read_bytes()
    give(page, (name, content), media_type="")
    expect(page.locator("#problem-advice")).to_contain_text(why)
    assert service.received == 0


def test_the_commands_do_the_same(page, give, gif, result, tmp_path):
    (tmp_path / "my cat.gif").write_bytes(gif)
    give(page, ("my cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    page.click("summary")
    commands = page.locator("#command").inner_text()
    subprocess.run(commands, shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=30)
    assert (tmp_path / "my cat_x4.gif").read_bytes() == result(gif, "my cat.gif")


def test_reduced_motion_shows_the_first_frames(open_page, give, gif):
    page = open_page(reduced_motion="reduce")
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    expect(page.locator("#reels")).to_be_hidden()
    page.click("#play")
    expect(page.locator("#reels img").first).to_be_visible()
    page.click("#loupe")
    expect(page.locator("#reels")).to_be_hidden()


def test_a_picture_shows_its_position_and_its_tiles(page, give, encode, picture, service):
    service.gate.clear()
    large = encode(Image.fromarray(noise(150, 150)))
    give(page, ("small.png", picture))
    expect(page.locator("#working-text")).to_contain_text("0 of 1 tiles, about ")
    give(page, ("large.png", large))
    page.click("#frames .frame >> nth=1")
    expect(page.locator("#working-text")).to_have_text("1 picture before yours.")
    page.click("#frames .frame >> nth=0")
    expect(page.locator("#working-text")).to_contain_text("0 of 1 tiles, about ")
    service.gate.set()
    wait_until_done(page, 2)


@pytest.fixture
def without_jobs(tmp_path, monkeypatch, service):
    with running(StandInService(tmp_path, no_jobs=True)) as other:
        monkeypatch.setattr(service, "url", other.url)
        yield other


def test_the_page_says_that_jobs_are_turned_off(without_jobs, open_page, give, gif, video):
    page = open_page()
    expect(page.locator("#limits-of-clips")).to_contain_text(
        "Of animations, only the first frame is upscaled"
    )
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    assert save(page)[0] == "cat_4x.png"
    give(page, ("clip.mp4", video), media_type="video/mp4")
    expect(page.locator("#problem-title")).to_have_text(
        "Videos and archives are not accepted here."
    )
    assert without_jobs.received == 1
