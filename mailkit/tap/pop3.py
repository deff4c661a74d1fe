"""``twistd mailkit-pop3``: a POP3 server."""

from __future__ import annotations

from mailkit.tap.options import ListenOptions
from mailkit.tap.pop3_settings import POP3Options
from mailkit.tap.shared_options import SASLOptions
from mailkit.tap.twistd import make_service


class Options(POP3Options, SASLOptions, ListenOptions):
    """Settings of the POP3 server."""

    endpoint_options = {"pop3": "listen", "pop3s": "listen-tls"}
    longdesc = (
        "A POP3 server (RFC 1939) for the INBOX of the store's accounts. With --tls it offers"
        " STLS; --listen-tls is for port 995, which begins with TLS."
    )
    examples = """\
  twistd -n mailkit-pop3 --listen tcp:2110:interface=127.0.0.1
  twistd mailkit-pop3 --listen tcp:110 --listen-tls tcp:995 --tls cert.pem,key.pem
"""

    def opt_listen_tls(self, endpoint: str) -> None:
        """Listen there with TLS from the first octet, such as tcp:995; may be repeated."""
        self.add_endpoint("pop3s", endpoint)


makeService = make_service
