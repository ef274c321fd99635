"""Side-by-side measurements; results, dated, in benchmarks/README.md."""
