"""A directory server of our own: OpenLDAP's slapd, in a private directory on loopback."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailkit.tap.tls import self_signed
from tests.certificates import make_identity
from tests.support import HOST, PATIENCE, free_ports

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
SEARCHER = f"cn=searcher,{SUFFIX}"
SEARCHER_PASSWORD = "look-up"

# It takes a bind with a name and an empty password for one of nobody, so that a client that does
# not look gets in (RFC 4513 section 5.1.2).
_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/pid
argsfile {directory}/args
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
allow bind_anon_cred bind_anon_dn
database mdb
suffix "{suffix}"
rootdn "cn=admin,{suffix}"
directory {directory}/data
dbnosync
access to attrs=userPassword by dn="{searcher}" read by anonymous auth by * none
access to * by dn="{searcher}" read by self read by anonymous auth by * none
"""


def missing() -> str | None:
    """Why there cannot be one."""
    return None if shutil.which("slapd") else "slapd is not installed"


class Slapd:
    """The server.

    :param directory: an empty directory.
    :param names: of the certificate, instead of those of this machine.
    """

    def __init__(self, directory: Path, names: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port, self.tls_port = free_ports(2)
        (directory / "data").mkdir(parents=True)
        self.certificate, key = self_signed(directory)
        if names:
            identity = make_identity(names)
            Path(self.certificate).write_bytes(identity.pem)
            Path(key).write_bytes(identity.key_pem)
        self._configuration = directory / "slapd.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                certificate=self.certificate,
                key=key,
                suffix=SUFFIX,
                searcher=SEARCHER,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def fill(self, users: Mapping[str, str]) -> None:
        """Put users in, by their addresses; passwords as they are to be stored."""
        entries = [
            f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n",
            f"dn: {PEOPLE}\nobjectClass: organizationalUnit\n",
            f"dn: {SEARCHER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
            f"userPassword: {SEARCHER_PASSWORD}\n",
        ]
        for address, stored in users.items():
            uid = address.partition("@")[0].replace(",", "\\2c")
            entries.append(
                f"dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\n"
                f"cn: x\nsn: x\nmail: {address}\nuserPassword:: {_base64(stored)}\n"
            )
        subprocess.run(
            ["slapadd", "-f", str(self._configuration)],
            input="\n".join(entries),
            text=True,
            check=True,
            timeout=PATIENCE,
            capture_output=True,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        urls = f"ldap://{HOST}:{self.port}/ ldaps://{HOST}:{self.tls_port}/"
        self._process = subprocess.Popen(
            ["slapd", "-f", str(self._configuration), "-h", urls, "-d", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError("slapd does not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            for port in (self.port, self.tls_port):
                socket.create_connection((HOST, port), PATIENCE).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop it, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(PATIENCE)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
