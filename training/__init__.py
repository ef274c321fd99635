"""From photographs to the frozen graphs in assets/; never part of the service."""
