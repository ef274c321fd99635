"""Processes that decode untrusted files."""
