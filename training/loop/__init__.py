"""Training runs: recipes, steps, checkpoints."""
