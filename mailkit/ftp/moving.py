"""Commands that open data connections, and those that use them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

from mailkit.errors import BeyondEnd
from mailkit.files import FileEntry, FilePath
from mailkit.ftp.data import DataChannel, TransferFailed
from mailkit.ftp.grammar import (
    CommandError,
    facts_line,
    list_line,
    parse_extended_port,
    parse_nothing,
    parse_path,
    parse_port,
    same_host,
)
from mailkit.ftp.listing import Pieces, find_listing, open_listing
from mailkit.ftp.transfers import receive_file, send_file, send_listing
from mailkit.peers import host_and_port

if TYPE_CHECKING:
    from mailkit.ftp.protocol import FTPConnection


# Opening.


async def pasv(connection: FTPConnection, argument: bytes) -> None:
    parse_nothing(argument)
    _only_epsv(connection)
    _interface(connection)
    address = connection.factory.passive_address or connection.info().local
    if ":" in address:
        address = str(getattr(ip_address(address), "ipv4_mapped", None) or address)
    if ":" in address:
        raise CommandError("PASV is for IPv4: use EPSV", 425)
    port = await _listen(connection)
    numbers = [*address.split("."), str(port >> 8), str(port & 255)]
    connection.reply(227, f"Entering Passive Mode ({','.join(numbers)})")


async def epsv(connection: FTPConnection, argument: bytes) -> None:
    """RFC 2428 section 3."""
    local = ip_address(_interface(connection).partition("%")[0])
    mapped = getattr(local, "ipv4_mapped", None)
    protocol = "1" if local.version == 4 or mapped else "2"
    wanted = argument.strip().upper()
    if wanted == b"ALL":
        connection.session.only_epsv = True
        connection.reply(200, "From now on only EPSV opens data connections")
        return
    if wanted and wanted != protocol.encode():
        raise CommandError(f"Network protocol not supported, use ({protocol})", 522)
    port = await _listen(connection)
    connection.reply(229, f"Entering Extended Passive Mode (|||{port}|)")


async def _listen(connection: FTPConnection) -> int:
    if (before := connection.channel) is not None:
        connection.drop_channel()
        # It may be the only one.
        await before.until_port_is_free()
    channel = _new_channel(connection)
    try:
        return channel.listen(_interface(connection), connection.factory.passive_ports)
    except CannotListenError:
        connection.drop_channel()
        raise CommandError("No port is free just now, please try again later", 425) from None


def port(connection: FTPConnection, argument: bytes) -> None:
    _aim(connection, *parse_port(argument))


def eprt(connection: FTPConnection, argument: bytes) -> None:
    """RFC 2428 section 2."""
    _aim(connection, *parse_extended_port(argument))


def _aim(connection: FTPConnection, host: str, number: int) -> None:
    _only_epsv(connection)
    # RFC 2577 section 3: no connections to others, nor to services, on a client's behalf.
    if not same_host(host, connection.info().peer):
        raise CommandError("Data connections go to your own address only", 504)
    if number < 1024:
        raise CommandError("Data connections go to ports from 1024 on only", 504)
    _new_channel(connection).aim(host, number, _interface(connection))
    connection.reply(200, "The next transfer goes there")


def _interface(connection: FTPConnection) -> str:
    """The machine's own address of the control connection, whatever a proxy in front of it says.

    :raises CommandError: there is none, as with UNIX sockets.
    """
    address = host_and_port(connection.transport.getHost())[0]
    if not address:
        raise CommandError("There are no data connections without TCP", 425)
    return address


def _only_epsv(connection: FTPConnection) -> None:
    if connection.session.only_epsv:
        raise CommandError("After EPSV ALL there is EPSV only", 503)


def _new_channel(connection: FTPConnection) -> DataChannel:
    connection.drop_channel()
    factory = connection.factory
    tls = factory.tls_context if connection.session.protected else None
    channel = DataChannel(factory.reactor, connection.info().peer, tls, factory.data_timeout)
    connection.channel = channel
    return channel


def abor(connection: FTPConnection, argument: bytes) -> None:
    """A transfer at work has been ended before this is read: see ``FTPConnection``."""
    connection.drop_channel()
    connection.reply(226, "No transfer is at work")


# Using.


async def retr(connection: FTPConnection, argument: bytes) -> None:
    offset = connection.session.take_restart()
    path, channel = _place(connection, argument)
    file = await connection.home.open_to_read(path=path)
    try:
        if offset > file.size:
            # RFC 3659 section 5.3
            raise BeyondEnd
        ascii_type = not connection.session.binary
        await _move(connection, channel, send_file(channel, file, offset, ascii_type=ascii_type))
    finally:
        file.close()


async def stor(connection: FTPConnection, argument: bytes) -> None:
    await _receive(connection, argument, connection.session.take_restart())


async def appe(connection: FTPConnection, argument: bytes) -> None:
    connection.session.take_restart()
    await _receive(connection, argument, None)


async def stou(connection: FTPConnection, argument: bytes) -> None:
    """A name that nobody has: clients need not be told whether it was free.

    lenient: some clients send a name, which RFC 959 does not know.
    """
    connection.session.take_restart()
    name = secrets.token_hex(8)
    # RFC 1123 section 4.1.2.9: where the client finds it.
    await _receive(connection, name.encode("ascii"), 0, f"FILE: {name}")


async def _receive(
    connection: FTPConnection, argument: bytes, offset: int | None, begin: str = "Here it comes"
) -> None:
    path, channel = _place(connection, argument)
    file = await connection.home.open_to_write(path=path, offset=offset)
    try:
        ascii_type = not connection.session.binary
        work = receive_file(channel, file, ascii_type=ascii_type)
        await _move(connection, channel, work, path[-1:], begin)
    finally:
        file.close()


def _place(connection: FTPConnection, argument: bytes) -> tuple[FilePath, DataChannel]:
    path = parse_path(argument, connection.session.directory)
    return path, _channel(connection)


async def list_(connection: FTPConnection, argument: bytes) -> None:
    now = connection.clock.seconds()
    pieces, _ = await find_listing(connection, argument)
    await _list(connection, pieces, lambda entry: list_line(entry, now))


async def nlst(connection: FTPConnection, argument: bytes) -> None:
    pieces, before = await find_listing(connection, argument)
    # RFC 1123 section 4.1.2.7: names can be arguments of commands as they stand.
    await _list(connection, pieces, lambda entry: before + entry.name)


async def mlsd(connection: FTPConnection, argument: bytes) -> None:
    """RFC 3659 section 7."""
    session = connection.session
    path = parse_path(argument, session.directory) if argument else session.directory
    entry = await connection.home.get_entry(path=path)
    if not entry.is_directory:
        raise CommandError("MLSD is for directories: use MLST", 501)
    pieces = await open_listing(connection.home, path)
    await _list(connection, pieces, lambda entry: facts_line(entry, session.facts, entry.name))


async def _list(
    connection: FTPConnection, pieces: Pieces, line: Callable[[FileEntry], str]
) -> None:
    connection.session.take_restart()
    channel = _channel(connection)
    await _move(connection, channel, send_listing(channel, pieces, line, connection.drain))


def _channel(connection: FTPConnection) -> DataChannel:
    if connection.factory.protect_data and not connection.session.protected:
        # RFC 4217 section 10.2
        raise CommandError("Data connections are under TLS here: send PROT P first", 521)
    channel = connection.channel
    if channel is None:
        raise CommandError("Send PASV, EPSV, PORT or EPRT first", 425)
    return channel


async def _move(
    connection: FTPConnection,
    channel: DataChannel,
    work: Coroutine[Any, Any, str | None],
    asked: FilePath = (),
    begin: str = "Here it comes",
) -> None:
    """Let a transfer happen on the data connection, and tell how it ended.

    :param work: the transfer; it gives the name that a file has got.
    :param asked: the name that the client has asked for.
    :param begin: text of the reply with which it begins.
    """
    connection.reply(150, begin)
    connection.flush()
    connection.transferring = True
    connection.session.statuses = 0
    try:
        await channel.until_connected()
        name = await work
    except TransferFailed as error:
        connection.reply(error.code, error.text)
    else:
        connection.reply(226, f"Done: it is {name}" if name and asked != (name,) else "Done")
    finally:
        # Not begun when there was no connection.
        work.close()
        connection.transferring = False
        channel.close()
        if connection.channel is channel:
            connection.channel = None
