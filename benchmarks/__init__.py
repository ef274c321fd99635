"""Measure this service beside the original and other engines; see benchmarks/README.md."""
