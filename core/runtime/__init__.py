"""Cores, memory and the one lane to the network that all requests share."""
