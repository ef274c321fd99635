"""Training runs: recipe, stages, checkpoints, the training loop, mixes of runs."""
