"""A POP3 client that is gone without a word, in a network of its own: see test_pop3_dead_client.py.

Prints the answer to the login that comes after it, and the seconds that it took.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time

from tests.support import HOST, PATIENCE, ServerProcess

#: Where the client comes from that is cut off.
LOST = "127.0.0.5"
PORT = 2110


def log_in(user: str, source: str) -> tuple[socket.socket, str]:
    """A connection and the answer to its password."""
    connection = socket.create_connection((HOST, PORT), PATIENCE, (source, 0))
    answers = connection.makefile("r", newline="\r\n")
    answers.readline()
    for line in (f"USER {user}", "PASS secret"):
        connection.sendall(line.encode() + b"\r\n")
        answer = answers.readline()
    return connection, answer.strip()


def main(directory: str, user: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    store = f"sqlite:{directory}/store"
    listening = f"tcp:{PORT}:interface={HOST}"
    with ServerProcess(directory, [PORT], "mailkit", "--store", store, "--pop3", listening):
        lost, _ = log_in(user, LOST)
        # What is sent to it is lost on the way, as if it had been switched off.
        subprocess.run(
            ["ip", "route", "add", "blackhole", f"{LOST}/32", "table", "local"], check=True
        )
        begin = time.monotonic()
        _, answer = log_in(user, HOST)
        sys.stdout.write(f"{time.monotonic() - begin:.1f} {answer}\n")
        lost.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
