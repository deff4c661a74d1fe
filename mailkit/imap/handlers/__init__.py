"""One function a command; tables tell in which states it may be used."""
