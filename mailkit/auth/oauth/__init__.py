"""Logins by tokens of OAuth 2.0: verified by their issuer's keys, or by asking it."""
