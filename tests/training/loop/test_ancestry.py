from training.loop.run import add_mix, add_run

FIRST = add_run([], 10, {"name": "first"})
SECOND = add_run(FIRST, 20, {"name": "second"})
OTHER = add_run(FIRST, 30, {"name": "other"})


def names(ancestors):
    return [entry["recipe"]["name"] if "recipe" in entry else "mix" for entry in ancestors]


def test_a_run_tells_what_it_began_with():
    assert FIRST == [{"steps": 10, "recipe": {"name": "first"}, "began_with": None}]
    assert SECOND[1] == {"steps": 20, "recipe": {"name": "second"}, "began_with": 0}


def test_who_is_an_ancestor_of_several_is_told_once():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    assert names(mixed) == ["first", "second", "other", "mix"]
    assert [entry.get("began_with") for entry in mixed] == [None, 0, 0, None]
    assert mixed[-1]["mixed"] == [{"ancestor": 1, "share": 0.6}, {"ancestor": 2, "share": 0.4}]


def test_mixes_of_mixes_keep_their_parts_apart():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    further = add_run(mixed, 40, {"name": "further"})
    again = add_mix([OTHER, further, mixed], [0.2, 0.5, 0.3])
    assert names(again) == ["first", "other", "second", "mix", "further", "mix"]
    assert again[3]["mixed"] == [{"ancestor": 2, "share": 0.6}, {"ancestor": 1, "share": 0.4}]
    assert again[4]["began_with"] == 3
    assert [part["ancestor"] for part in again[5]["mixed"]] == [1, 4, 3]


def test_a_run_of_no_steps_is_what_it_began_with():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    assert add_run(mixed, 0, {"name": "mixed"}) == mixed
    assert names(add_run([], 0, {"name": "random"})) == ["random"]
