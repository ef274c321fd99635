"""Photographs: downloaded, selected, degraded, cut into patches."""
