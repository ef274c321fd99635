"""Train the networks in assets/, from photographs to frozen graphs; not part of the service."""
