"""Logins: password hashes, credentials checkers, and the realm that gives out accounts."""
