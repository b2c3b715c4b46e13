"""A real FTP server in a process of its own: FOLDER PORT USER PASSWORD BYTES_PER_S (0: as fast as it can)."""

from __future__ import annotations

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, ThrottledDTPHandler
from pyftpdlib.servers import FTPServer


def main() -> None:
    folder, port, user, password, bytes_per_s = sys.argv[1:]

    class Dtp(ThrottledDTPHandler):
        read_limit = int(bytes_per_s)

    class Handler(FTPHandler):
        authorizer = DummyAuthorizer()
        dtp_handler = Dtp

    Handler.authorizer.add_user(user, password, folder, perm="elradfmwMT")
    FTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
