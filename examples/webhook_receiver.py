"""Hears of what becomes of mail that is sent: python webhook_receiver.py PORT SECRETFILE."""

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def read_key(path):
    """The key of the signatures: base64 behind "whsec_", or the characters themselves."""
    secret = Path(path).read_text().strip()
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded) if encoded != secret else secret.encode()


KEY = read_key(sys.argv[2])
MAX_SIZE = 64 * 1024
seen = set()


def is_genuine(headers, body):
    """Whether the one who knows the secret has sent this, in the last five minutes."""
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    code = hmac.digest(KEY, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    wanted = "v1," + base64.b64encode(code).decode()
    given = headers.get("webhook-signature", "").split(" ")
    is_fresh = timestamp.isdigit() and abs(time.time() - int(timestamp)) < 300
    return is_fresh and any(hmac.compare_digest(wanted.encode(), g.encode()) for g in given)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size) if size <= MAX_SIZE else b""
        if not is_genuine(self.headers, body):
            self.send_error(403)
            return
        # The same event may come twice; a program of yours keeps this in its database.
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            event = json.loads(body)
            text = event["data"].get("attempt", {}).get("text", "")
            print(event["type"], event["data"]["recipient"], text, flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Print nothing else."""


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
