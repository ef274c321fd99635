"""Blind trials with people: prepare the pictures, serve the page, and report the ratings."""
