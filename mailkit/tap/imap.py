"""``twistd mailkit-imap``: an IMAP server."""

from __future__ import annotations

from mailkit.tap.capabilities import CapabilityOptions
from mailkit.tap.guests import GuestOptions
from mailkit.tap.imap_settings import IMAPOptions
from mailkit.tap.options import ListenOptions
from mailkit.tap.shared_options import SASLOptions, SizeOptions
from mailkit.tap.sharing import SharingOptions
from mailkit.tap.twistd import make_service


class Options(
    CapabilityOptions,
    IMAPOptions,
    SharingOptions,
    GuestOptions,
    SizeOptions,
    SASLOptions,
    ListenOptions,
):
    """Settings of the IMAP server."""

    endpoint_options = {"imap": "listen", "imaps": "listen-tls"}
    longdesc = (
        "An IMAP server (RFC 3501) for the mailboxes of the store's accounts. With --tls it offers"
        " STARTTLS; --listen-tls is for port 993, which begins with TLS."
    )
    examples = """\
  twistd -n mailkit-imap --listen tcp:2143:interface=127.0.0.1
  twistd mailkit-imap --listen tcp:143 --listen-tls tcp:993 --tls cert.pem,key.pem
"""

    def opt_listen_tls(self, endpoint: str) -> None:
        """Listen there with TLS from the first octet, such as tcp:993; may be repeated."""
        self.add_endpoint("imaps", endpoint)


makeService = make_service
