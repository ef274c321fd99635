"""What stops a command of training as a whole."""


class CommandFailed(ValueError):
    """What was asked for cannot be done; the message says what was expected."""
