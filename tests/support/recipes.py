"""Write recipes as TOML."""

import json


def as_toml(recipe):
    """Return a recipe as TOML; its values are written as JSON, which TOML accepts."""
    lines = []
    for table, settings in recipe.as_dict().items():
        if settings is not None:
            lines.append(f"[{table}]")
            stated = {k: v for k, v in settings.items() if v is not None}  # TOML has no null
            lines += [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
    return "\n".join(lines) + "\n"
