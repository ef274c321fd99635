"""Pixels in, pixels out: knows no HTTP, no settings and no training."""
