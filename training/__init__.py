"""Turn photographs into the frozen graphs in `assets/`. The service never imports this package."""


class CommandFailed(ValueError):
    """A command cannot do what was asked for. The message states what was expected."""
