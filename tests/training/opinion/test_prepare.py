import errno
import json
import re
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from core.files import PRIVATE_PREFIX
from tests.support.trials import OUTPUTS, preparation, write_pictures
from training import CommandFailed
from training.opinion.prepare import encode_stored_png
from training.opinion.trial import ANCHORS, HR, NEAREST, Design, picture_path, read_key, read_trial


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path)
    return tmp_path


def decode(path):
    with Image.open(path) as image:
        assert image.info == {}
        return np.array(image)


def test_pictures_of_a_trial_are_those_of_the_outputs(folder):
    assert preparation(folder).run() == (
        "4 pictures, 4 outputs, 3 raters at most, 22 questions each, at most 24 x 16 px\n"
    )
    trial, key = read_trial(folder / "trial"), read_key(folder / "trial")
    assert len(key.versions) == 4 * 6 + 2
    for identifier, version in key.versions.items():
        shown = decode(picture_path(folder / "trial", identifier))
        name = f"{version.picture}.png".removeprefix("Tiny/")
        if version.label == NEAREST:
            lr = decode(folder / "sets/Tiny/LRx4" / name)
            expected = lr.repeat(4, axis=0).repeat(4, axis=1)
        elif version.label == HR:
            expected = decode(folder / "sets/Tiny/HR" / name)
        else:
            expected = decode(folder / "outputs" / version.label / "Tiny" / name)
        np.testing.assert_array_equal(shown, expected)
    practised = {name for example in trial.examples for name in example.shown}
    rated = {name for order in trial.orders for question in order for name in question}
    pictures = [{key.versions[name].picture for name in names} for names in (practised, rated)]
    assert not pictures[0] & pictures[1]
    assert [key.versions[e.shown[0]].label for e in trial.examples] == [NEAREST, HR]
    assert [example.answer for example in trial.examples] == [1, 5]


def test_nothing_that_a_rater_can_see_tells_outputs_apart(folder):
    preparation(folder).run()
    design = (folder / "trial" / "trial.json").read_text()
    names = [path.name for path in (folder / "trial" / "pictures").iterdir()]
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", name) for name in names)
    for word in (*ANCHORS, "Tiny", "picture0", *(f'"{label}"' for label in OUTPUTS)):
        assert word not in design
    assert len({path.stat().st_size for path in (folder / "trial" / "pictures").iterdir()}) == 1
    assert (folder / "trial" / "key.json").stat().st_mode & 0o077 == 0


def test_a_flat_picture_has_as_many_bytes_as_noise():
    noise = np.random.default_rng(1).integers(0, 256, (150, 201, 3), np.uint8)
    assert len(encode_stored_png(noise)) == len(encode_stored_png(np.zeros_like(noise)))


def test_a_seed_determines_a_trial(folder):
    trials = []
    for name, seed in (("one", 4), ("two", 4), ("three", 5), ("four", None)):
        preparation(folder, trial=folder / name, seed=seed).run()
        trials.append((read_trial(folder / name), read_key(folder / name)))
    assert trials[0] == trials[1]
    assert all(one[0] != other[0] for one, other in combinations(trials[1:], 2))


def test_large_pictures_are_cropped_to_the_same_part(folder):
    preparation(folder, screen=(10, 100)).run()
    trial, key = read_trial(folder / "trial"), read_key(folder / "trial")
    assert (trial.height, trial.width) == (16, 10)
    for identifier, version in key.versions.items():
        if version.label == "a":
            name = f"{version.picture}.png".removeprefix("Tiny/")
            whole = decode(folder / "outputs/a/Tiny" / name)
            shown = decode(picture_path(folder / "trial", identifier))
            np.testing.assert_array_equal(shown, whole[:, 7:17])


def test_pairs_have_examples_with_both_answers(folder):
    preparation(folder, design=Design.PAIRS, examples=2).run()
    trial, key = read_trial(folder / "trial"), read_key(folder / "trial")
    better = [key.versions[e.shown[e.answer - 1]].label for e in trial.examples]
    assert better == [HR, HR]
    assert [example.answer for example in trial.examples] == [1, 2]


def test_one_test_set_needs_no_folder_of_its_own(folder):
    (folder / "outputs/a/Tiny").rename(folder / "flat")
    (folder / "consent.txt").write_text("Do you agree?\n")
    outputs = {"a": folder / "flat", "b": folder / "outputs" / "b"}
    options = {"outputs": outputs, "pictures": 3, "consent": folder / "consent.txt"}
    preparation(folder, **options).run()
    assert read_trial(folder / "trial").consent == "Do you agree?"
    assert len(read_key(folder / "trial").versions) == 3 * 4 + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": ["Large"]}, "HR must hold PNG files. Received: none."),
        ({"pictures": 2}, "Received: 5 pictures, of which 1 are for practice and 2 to rate."),
        ({"pictures": 5}, "of which 1 are for practice and 5 to rate."),
        ({"anchors": 5}, "Anchors (--anchors) must be of at most 4 pictures. Received: 5."),
        (
            {"repeats": 6},
            "At most 5 questions, a third of all, can be repeated (--repeats). Received: 6.",
        ),
        ({"raters": 1001}, "There can be 1000 raters. Received: 1001."),
        (
            {"sets": ["Tiny", "../sets/Tiny/"]},
            "Names of test sets must differ. Received: Tiny, Tiny.",
        ),
    ],
)
def test_a_trial_that_cannot_be_is_refused(folder, options, message):
    with pytest.raises(CommandFailed, match=re.escape(message)):
        preparation(folder, **options).run()
    assert not (folder / "trial").exists()


def test_files_that_do_not_fit_are_named(folder):
    (folder / "outputs/b/Tiny/picture1.png").unlink()
    Image.new("RGB", (20, 16)).save(folder / "outputs/c/Tiny/picture2.png")
    Image.new("RGB", (5, 4)).save(folder / "sets/Tiny/LRx4/picture3.png")
    (folder / "outputs/a/Tiny/picture4.png").write_bytes(b"no picture")
    with pytest.raises(CommandFailed) as refused:
        preparation(folder).run()
    for part in (
        "outputs/b/Tiny/picture1.png must exist",
        "c of Tiny/picture2 must have the size of HR, 24 x 16. Received: 20 x 16.",
        "LR, enlarged by a whole factor, of Tiny/picture3 must have the size of HR",
        "outputs/a/Tiny/picture4.png cannot be decoded.",
    ):
        assert part in str(refused.value)
    assert not (folder / "trial").exists()


@pytest.mark.parametrize(
    ("text", "message"), [(b"\xff", "text in UTF-8"), (b" \n", "Received: none")]
)
def test_a_consent_without_text_is_refused(folder, text, message):
    (folder / "consent.txt").write_bytes(text)
    with pytest.raises(CommandFailed, match=message):
        preparation(folder, consent=folder / "consent.txt").run()


def test_an_unfinished_trial_leaves_nothing_and_can_be_prepared_again(folder, monkeypatch):
    def fill_the_disk(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = set(folder.iterdir())
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("training.opinion.prepare.write_trial", fill_the_disk)
        preparation(folder).run()
    assert set(folder.iterdir()) == before
    (folder / f"{PRIVATE_PREFIX}dead/trial/pictures").mkdir(parents=True)  # of a killed process
    (folder / "trial").mkdir()
    preparation(folder).run()
    assert set(folder.iterdir()) == before | {folder / "trial"}


def test_labels_and_folders_are_checked(folder):
    for labels, message in (
        (("a",), "A trial needs two outputs. Received: a."),
        (("a", "HR"), "not that of an anchor"),
        (("a", "b\n"), "must be printable"),
    ):
        with pytest.raises(CommandFailed, match=message):
            preparation(folder, labels).run()
    preparation(folder).run()
    before = (folder / "trial/key.json").read_bytes()
    with pytest.raises(CommandFailed, match="TRIAL must be a new or an empty folder"):
        preparation(folder).run()
    assert (folder / "trial/key.json").read_bytes() == before
    assert json.loads(before)["seed"] == 1
