"""pyftpdlib over a directory, as its manual sets it up; with sendfile, without flushes."""

from __future__ import annotations

import logging
import sys
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


def main() -> None:
    port, directory, user, password = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    authorizer = DummyAuthorizer()
    authorizer.add_user(user, password, directory, perm="elradfmwMT")
    handler: Any = FTPHandler
    handler.authorizer = authorizer
    FTPServer(("127.0.0.1", int(port)), handler).serve_forever()


if __name__ == "__main__":
    main()
