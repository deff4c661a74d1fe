"""``twistd mailkit-ftp``: an FTP server."""

from __future__ import annotations

from mailkit.tap.ftp_settings import FTPOptions
from mailkit.tap.guests import GuestOptions
from mailkit.tap.options import ListenOptions
from mailkit.tap.shared_options import PasswordOptions, SizeOptions
from mailkit.tap.twistd import make_service


class Options(FTPOptions, GuestOptions, SizeOptions, PasswordOptions, ListenOptions):
    """Settings of the FTP server."""

    endpoint_options = {"ftp": "listen", "ftps": "listen-tls"}
    longdesc = (
        "An FTP server (RFC 959) where the store's accounts keep files, each in a home of its own,"
        " and see their mail in the directory Mail."
        " With --tls it offers AUTH TLS (RFC 4217); --listen-tls is for port 990, which begins with"
        " TLS. Nobody comes in anonymously without --anonymous."
    )
    examples = """\
  twistd -n mailkit-ftp --listen tcp:2121:interface=127.0.0.1
  twistd mailkit-ftp --listen tcp:21 --listen-tls tcp:990 --tls cert.pem,key.pem \\
    --passive-ports 50000-50100 --passive-address 192.0.2.1
"""

    def opt_listen_tls(self, endpoint: str) -> None:
        """Listen there with TLS from the first octet, such as tcp:990; may be repeated."""
        self.add_endpoint("ftps", endpoint)


makeService = make_service
