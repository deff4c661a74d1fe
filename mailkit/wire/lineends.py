"""Line ends of text between a network, where they are CRLF, and files, where they are LF."""

from __future__ import annotations


class ToNetwork:
    """To the network, as RFC 959 section 3.1.1.1 and RFC 5322 section 2.1 want it."""

    _after_cr = False

    def convert(self, data: bytes) -> bytes:
        """CRLF for each LF; a CRLF stays one, though it be split."""
        if self._after_cr and data.startswith(b"\n"):
            first, rest = b"\n", data[1:]
        else:
            first, rest = b"", data
        self._after_cr = data.endswith(b"\r")
        return first + rest.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class FromNetwork:
    """From the network."""

    _held = b""

    def convert(self, data: bytes) -> bytes:
        """LF for each CRLF; a CR at the end waits for what follows."""
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def rest(self) -> bytes:
        """What waits at the end."""
        return self._held
