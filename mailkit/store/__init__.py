"""Where mail is kept: backends of :mod:`mailkit.interfaces`, and what they have in common."""
