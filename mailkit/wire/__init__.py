"""Octets on the wire: buffers, character classes, dot-stuffing, SASL, modified UTF-7. No I/O."""
