"""Assembly of the service: its parts built from the settings, and checks before it starts."""
