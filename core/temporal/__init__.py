"""Coherence of frames in time: optical flow, fusion, repeated frames."""
