"""The error that ends a command of training."""


class CommandFailed(ValueError):
    """The command cannot be carried out; the message says what was expected."""
