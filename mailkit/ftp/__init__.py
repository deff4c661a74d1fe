"""FTP: an account's files, with the same login as its mail (RFC 959 and what came after it)."""
