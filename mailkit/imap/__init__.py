"""IMAP server (RFC 3501 and extensions)."""
