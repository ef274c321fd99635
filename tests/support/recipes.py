"""Write recipes as TOML."""

import json


def as_toml(recipe):
    """Return a recipe as TOML."""
    lines = []
    for table, settings in recipe.as_dict().items():
        if isinstance(settings, list):
            inline = ", ".join(as_inline(entry) for entry in settings)
            lines.insert(0, f"{table} = [{inline}]")  # before the first table
        elif settings is not None:
            lines.append(f"[{table}]")
            lines += [f"{name} = {as_inline(value)}" for name, value in stated(settings)]
    return "\n".join(lines) + "\n"


def as_inline(value):
    """Return a value on one line: tables in braces, all else as JSON, which TOML accepts."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {as_inline(entry)}" for name, entry in stated(value))
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(as_inline(entry) for entry in value)}]"
    return json.dumps(value)


def stated(settings):
    """Return names and values of the settings that are not None: TOML has no null."""
    return [(name, value) for name, value in settings.items() if value is not None]
