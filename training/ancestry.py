"""Where the weights of a run come from: all runs before it, each told once.

A list, the oldest first. An entry is a run, or a mix of runs:

    {"steps": 3000, "recipe": {...}, "began_with": 0}
    {"mixed": [{"ancestor": 1, "share": 0.6}, {"ancestor": 2, "share": 0.4}]}

The numbers are places in the list; a run that began with random weights has None. The
last entry is what the run itself began with; after random weights the list is empty.
"""

from collections.abc import Sequence

Ancestors = list[dict]


def add_run(ancestors: Ancestors, steps: int, recipe: dict) -> Ancestors:
    """The ancestors of what begins with a run.

    Args:
        ancestors: of the run.
        steps: that it has taken; one of none, as a mix, is what it began with.
        recipe: of the run.
    """
    if ancestors and steps == 0:
        return ancestors
    before = len(ancestors) - 1 if ancestors else None
    return [*ancestors, {"steps": steps, "recipe": recipe, "began_with": before}]


def add_mix(families: Sequence[Ancestors], shares: Sequence[float]) -> Ancestors:
    """The ancestors of what begins with a mix of the last of each family, by shares."""
    merged: Ancestors = []
    parts = [
        {"ancestor": merge(family, merged), "share": share}
        for family, share in zip(families, shares, strict=True)
    ]
    return [*merged, {"mixed": parts}]


def merge(family: Ancestors, merged: Ancestors) -> int:
    """Append to `merged` what is not there yet; the place of the family's last."""
    places: list[int] = []
    for ancestor in family:
        moved = renumber(ancestor, places)
        if moved not in merged:
            merged.append(moved)
        places.append(merged.index(moved))
    return places[-1]


def renumber(ancestor: dict, places: list[int]) -> dict:
    """The same entry in a list where those before it have other places."""
    if "mixed" in ancestor:
        parts = [part | {"ancestor": places[part["ancestor"]]} for part in ancestor["mixed"]]
        return {"mixed": parts}
    before = ancestor["began_with"]
    return ancestor | {"began_with": None if before is None else places[before]}
