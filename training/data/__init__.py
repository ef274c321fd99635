"""Photographs and drawings: download, select, degrade, cut into patches."""
