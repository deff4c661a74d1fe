"""``twistd mailkit-submission``: a server to which users' mail programs submit mail."""

from __future__ import annotations

from mailkit.tap.listeners import HELP
from mailkit.tap.options import ListenOptions
from mailkit.tap.shared_options import SubmissionOptions, TakingOptions
from mailkit.tap.twistd import make_service


class Options(TakingOptions, SubmissionOptions, ListenOptions):
    """Settings of the submission server."""

    endpoint_options = {"submission": "listen", "submissions": "listen-tls"}
    longdesc = (
        "A submission server (RFC 6409): users log in and send. The sender must be theirs; missing"
        " Date and Message-ID fields are added. With --tls it offers STARTTLS; --listen-tls is for"
        f" port 465, which begins with TLS (RFC 8314).{HELP}"
    )
    examples = """\
  twistd -n mailkit-submission --listen tcp:2587:interface=127.0.0.1
  twistd mailkit-submission --listen tcp:587 --listen-tls tcp:465 --tls cert.pem,key.pem
"""

    def opt_listen_tls(self, endpoint: str) -> None:
        """Listen there with TLS from the first octet, such as tcp:465; may be repeated."""
        self.add_endpoint("submissions", endpoint)


makeService = make_service
