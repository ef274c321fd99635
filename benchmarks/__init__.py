"""Side-by-side measurements: python -m benchmarks; results, dated, in benchmarks/README.md."""
