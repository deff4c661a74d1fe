"""Receives mail by HTTP: python receive_http.py PORT SECRETFILE.

twistd -n mailkit --smtp tcp:2525 --route-secret secret --route example.org=http://127.0.0.1:8000/
"""

import email
import email.policy
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = Path(sys.argv[2]).read_bytes().rstrip(b"\r\n")
MAX_SIZE = 50 * 1024 * 1024


def is_genuine(headers, body):
    """Whether the one who knows the secret has sent this, in the last five minutes."""
    timestamp, envelope = headers.get("Mailkit-Timestamp", ""), headers.get("Mailkit-Envelope")
    signed = f"{timestamp}.{envelope}.".encode() + body
    wanted = "sha256=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    is_fresh = timestamp.isdigit() and abs(time.time() - int(timestamp)) < 300
    return is_fresh and hmac.compare_digest(wanted, headers.get("Mailkit-Signature", ""))


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size) if size <= MAX_SIZE else b""
        if size > MAX_SIZE or not is_genuine(self.headers, body):
            self.send_error(413 if size > MAX_SIZE else 403)
            return
        envelope = json.loads(self.headers["Mailkit-Envelope"])
        message = email.message_from_bytes(body, policy=email.policy.default)
        print(envelope["sender"], envelope["recipients"], message["Subject"], flush=True)
        # Whatever is to be done with it is done before this: now the sender may forget it.
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
