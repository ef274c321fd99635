"""Confined processes, in which untrusted files are decoded."""
