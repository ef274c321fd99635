"""Temporal coherence of upscaled frames: optical flow, fusion, a cache of repeated frames."""
