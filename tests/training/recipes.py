"""Recipes as files."""

import json


def as_toml(recipe):
    """A recipe as a TOML file states it: strings and numbers, quoted as JSON quotes them."""
    lines = []
    for table, settings in recipe.as_dict().items():
        if settings is not None:
            lines.append(f"[{table}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"
