"""A Postfix of our own on a free port of loopback: nothing of the machine's mail is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support import HOST, PATIENCE, free_ports, listens

#: Why a test is skipped; empty where Postfix can be run.
MISSING = (
    "postfix is not installed"
    if shutil.which("postfix") is None
    else "Postfix wants to be started as root"
    if os.geteuid() != 0
    else ""
)

_MASTER = """\
127.0.0.1:{port} inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A relay for ``example.test`` and for whoever ``settings`` say; the test stops it.

    :param settings: lines of main.cf, over those that are here.
    :param services: more lines of master.cf.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, services: str = "") -> None:
        # Not below a test's own directory: the user postfix must be able to go there.
        self.directory = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.directory.chmod(0o755)
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("etc", "queue", "lib"):
            (self.directory / name).mkdir()
        shutil.chown(self.directory / "lib", "postfix")
        for name in ("postfix-files", "postfix-script", "post-install"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(f"/etc/postfix/{name}", self.directory / "etc")
        lines = {**self._settings(), **(settings or {})}
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.directory / "etc/main.cf").write_text(text)
        (self.directory / "etc/master.cf").write_text(_MASTER.format(port=self.port) + services)

    def _settings(self) -> dict[str, str]:
        return {
            "compatibility_level": "3.6",
            "queue_directory": f"{self.directory}/queue",
            "data_directory": f"{self.directory}/lib",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "command_directory": "/usr/sbin",
            "shlib_directory": "/usr/lib/postfix",
            "meta_directory": "/etc/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "postfix.example.test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": HOST,
            "inet_protocols": "ipv4",
            "smtpd_peername_lookup": "no",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "alias_maps": "",
            "local_recipient_maps": "",
            "relay_domains": "example.test",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            # What it passes on is to be what it got.
            "local_header_rewrite_clients": "",
            "message_drop_headers": "",
            "smtp_line_length_limit": "0",
            "minimal_backoff_time": "2s",
            "queue_run_delay": "2s",
            "message_size_limit": "50000000",
            "mailbox_size_limit": "0",
            "smtpd_client_connection_count_limit": "0",
            "maillog_file_prefixes": str(self.directory),
            "maillog_file": f"{self.directory}/mail.log",
        }

    @property
    def log(self) -> str:
        path = self.directory / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self) -> Postfix:
        """Start it and wait until it listens.

        :raises AssertionError: it does not.
        """
        output = open(self.directory / "output", "ab")
        with output:
            self._process = subprocess.Popen(
                ["postfix", "-c", str(self.directory / "etc"), "start-fg"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        give_up = time.monotonic() + PATIENCE
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > give_up:
                said = (self.directory / "output").read_text("utf-8", "replace")
                self.stop()
                raise AssertionError(f"Postfix did not start:\n{said}\n{self.log}")
            time.sleep(0.05)
        return self

    def queue(self) -> str:
        """What waits, as ``postqueue`` shows it."""
        done = subprocess.run(
            ["postqueue", "-c", str(self.directory / "etc"), "-p"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def stop(self) -> None:
        """End it and remove all that it has written."""
        if self._process is not None and self._process.poll() is None:
            subprocess.run(
                ["postfix", "-c", str(self.directory / "etc"), "stop"],
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
            )
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)
