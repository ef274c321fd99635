"""Shared resources of the service: the machine, admission of requests, and tile scheduling."""
