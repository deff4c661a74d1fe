"""Checks: hooks that keep bad clients and bad messages out. One module a check."""
