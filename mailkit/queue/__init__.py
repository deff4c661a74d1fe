"""Outbound mail: what is queued goes out, or comes back with a reason (RFC 5321 section 4.5.4)."""
