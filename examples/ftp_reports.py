"""An application's reports by FTP: files that exist only when somebody reads them."""

import errno
import sys
import time

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import task
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from mailkit.errors import ReadOnly
from mailkit.files import FileEntry
from mailkit.ftp.protocol import FTPFactory
from mailkit.interfaces import IFileHome, IReadableFile

REPORTS = {"numbers.csv": lambda: b"".join(b"%d;%d\r\n" % (n, n * n) for n in range(100))}


@implementer(IReadableFile)
class Report:
    def __init__(self, octets):
        self.octets, self.size = octets, len(octets)

    async def read(self, offset, count):
        return self.octets[offset : offset + count]

    def close(self):
        self.octets = b""


@implementer(IFileHome, IRealm)
class Reports:
    name = "reports"

    def requestAvatar(self, avatar_id, mind, *interfaces):
        return succeed((IFileHome, self, lambda: None))

    async def get_entry(self, path):
        if not path:
            return FileEntry("/", True, 0, None, "top", "el")
        report = await self.open_to_read(path)
        return FileEntry(path[0], False, report.size, time.time(), path[0], "r")

    async def list_entries(self, path):
        yield [await self.get_entry((name,)) for name in REPORTS]

    async def open_to_read(self, path):
        if len(path) != 1 or path[0] not in REPORTS:
            raise FileNotFoundError(errno.ENOENT, "no such report")
        return Report(REPORTS[path[0]]())

    async def refuse(self, path=(), offset=0, old=(), new=()):
        raise ReadOnly("Reports can only be read")

    open_to_write = make_directory = remove_directory = remove_file = rename = refuse


checker = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
factory = FTPFactory(Portal(Reports(), [checker]))


async def main(reactor, endpoint):
    try:
        await serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as error:
        sys.exit(str(error))
    await Deferred()


task.react(main, sys.argv[1:])
