"""Mailboxes of one account seen by another, for every store that keeps access control lists."""
