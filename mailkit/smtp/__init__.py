"""SMTP (RFC 5321) and message submission (RFC 6409): the receiving side."""
