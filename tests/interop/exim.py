"""An Exim of our own on a free port of loopback: nothing of the machine's mail is touched."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.support import PATIENCE, ROOT, free_ports, listens

#: Debian has either Exim or Postfix installed; the Makefile unpacks Exim here then.
_UNPACKED = ROOT / ".interop" / "usr" / "sbin" / "exim4"
_USER = "Debian-exim"


def _find() -> str | None:
    if found := shutil.which("exim4"):
        return found
    return str(_UNPACKED) if _UNPACKED.exists() else None


def _why_missing() -> str:
    if _find() is None:
        return "exim4 is not there (make interop-packages)"
    if os.geteuid() != 0:
        return "Exim wants to be started as root"
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return f"Exim does not start without its user {_USER} (make interop-packages)"
    return ""


#: Why a test is skipped; empty where Exim can be run.
MISSING = _why_missing()

_CONFIGURATION = """\
exim_path = {program}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%s
primary_hostname = exim.example.test
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
disable_ipv6 = true
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
pipelining_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
host_lookup =
return_path_remove = false
envelope_to_remove = false
delivery_date_remove = false
rfc1413_query_timeout = 0s
smtp_accept_max_per_connection = 1000
smtp_accept_queue_per_connection = 0
smtp_accept_max = 0
message_size_limit = 6M
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  deny local_parts = nobody
       message = no such user
  defer local_parts = later
       message = not now
  accept
begin routers
everything:
  driver = manualroute
  transport = relay
  route_list = * 127.0.0.1::{next_port} byname
  self = send
begin transports
relay:
  driver = smtp
  hosts_avoid_tls = *
  message_linelength_limit = 100000
"""


class Exim:
    """Takes mail for everybody but ``nobody@`` and ``later@``, and passes it on to a port.

    :param next_port: where it passes mail on to.
    :param certificate: PEM file; it and the key are copied.
    """

    def __init__(self, next_port: int, certificate: str, key: str) -> None:
        # Not below a test's own directory: Exim's user must be able to go there.
        self.directory = Path(tempfile.mkdtemp(prefix="exim-"))
        self.directory.chmod(0o755)
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("spool", "log"):
            (self.directory / name).mkdir()
            shutil.chown(self.directory / name, _USER)
        for source, name in ((certificate, "cert.pem"), (key, "key.pem")):
            shutil.copy(source, self.directory / name)
            shutil.chown(self.directory / name, _USER)
        self._configuration = self.directory / "exim.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                program=_find(),
                directory=self.directory,
                port=self.port,
                next_port=next_port,
                certificate=self.directory / "cert.pem",
                key=self.directory / "key.pem",
            )
        )

    @property
    def log(self) -> str:
        """All that it has written."""
        files = [self.directory / "output", *sorted((self.directory / "log").iterdir())]
        return "\n".join(path.read_text("utf-8", "replace") for path in files if path.exists())

    def start(self) -> Exim:
        """Start it and wait until it listens.

        :raises AssertionError: it does not.
        """
        with open(self.directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                [str(_find()), "-C", str(self._configuration), "-bdf", "-oP", "/dev/null"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        give_up = time.monotonic() + PATIENCE
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > give_up:
                said = self.log
                self.stop()
                raise AssertionError(f"Exim did not start:\n{said}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it and remove all that it has written."""
        if self._process is not None:
            # Those that deliver, too: they would go on writing to what is removed.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)
