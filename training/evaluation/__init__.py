"""Metrics, and their measurement on test sets and clips."""
