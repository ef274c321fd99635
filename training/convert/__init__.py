"""Convert published networks of PyTorch into frozen graphs with cards."""

from training import CommandFailed


class ConversionFailed(CommandFailed):
    """A file holds no network that can be converted. The message is one line."""
