"""The upscaling engine: pixels in, pixels out.

Nothing here knows HTTP, the service's settings or training.
"""
