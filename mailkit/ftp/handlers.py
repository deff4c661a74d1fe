"""Commands that need no data connection, and the table of all.

A handler that need not wait is a plain function; one that must returns its coroutine.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from mailkit.errors import AuthenticationFailed, AuthorizationFailed, MailError
from mailkit.ftp import moving
from mailkit.ftp.grammar import (
    FACTS,
    CommandError,
    facts_line,
    list_line,
    parse_nothing,
    parse_number,
    parse_path,
    parse_text,
    parse_time,
    quoted,
    shown,
    time_value,
)
from mailkit.ftp.listing import find_listing
from mailkit.ftp.replies import long_reply
from mailkit.ftp.state import Session
from mailkit.interfaces import ICountedHome, IFileHome, ITimedHome
from mailkit.sasl.anonymous import MAX_TRACE, AnonymousServer, without_name
from mailkit.sasl.external import (
    CertificateLogin,
    ExternalServer,
    find_account,
    with_certificate,
)
from mailkit.sasl.plain import with_password
from mailkit.wire.sasl import Success

if TYPE_CHECKING:
    from mailkit.ftp.protocol import FTPConnection

_Waiting = Coroutine[Any, Any, None] | None
Handler = Callable[["FTPConnection", bytes], _Waiting]


class Verb(NamedTuple):
    """A command of the table."""

    handler: Handler
    #: It needs no login.
    before_login: bool = False


# Login and TLS.


def user(connection: FTPConnection, argument: bytes) -> _Waiting:
    if connection.session.account:
        raise CommandError("You are logged in; another user needs another connection", 503)
    if not (connection.may_send_plaintext_passwords() or _is_anonymous(connection, argument)):
        text = "Passwords are not taken in the clear: use AUTH TLS"
        if connection.factory.tls_context is None:
            text = "Passwords are not taken in the clear, and there is no TLS here"
        raise CommandError(text, 530)
    name = parse_text(argument)
    certificate = connection.peer_certificate()
    if certificate is not None and connection.find_mechanism(ExternalServer.name) is not None:
        return _log_in_by_certificate(connection, CertificateLogin(name, certificate))
    _ask_for_password(connection, argument)
    return None


def _ask_for_password(connection: FTPConnection, name: bytes) -> None:
    connection.session.user = name
    connection.reply(331, "Now send PASS")


async def _log_in_by_certificate(connection: FTPConnection, login: CertificateLogin) -> None:
    """RFC 4217 section 11: the certificate may be all that the user needs."""
    try:
        account = await connection.look_up(ExternalServer, find_account(login))
    except MailError as error:
        connection.reply(451, error.text)
        return
    if account is None:
        _ask_for_password(connection, login.username.encode("utf-8"))
        return
    # RFC 2228 section 4: 232 tells that no password is wanted.
    await _log_in(connection, with_certificate(login, account), ExternalServer.name, 232)


def pass_(connection: FTPConnection, argument: bytes) -> _Waiting:
    name, connection.session.user = connection.session.user, None
    if name is None:
        raise CommandError("Send USER first", 503)
    if _is_anonymous(connection, name):
        return _log_in(connection, without_name(argument.decode("utf-8", "replace")[:MAX_TRACE]))
    return _log_in(connection, with_password(name.decode("utf-8"), argument))


def _is_anonymous(connection: FTPConnection, name: bytes) -> bool:
    """Whether somebody comes in without a name (RFC 1635), where anybody may."""
    return name.lower() in (b"anonymous", b"ftp") and (
        connection.find_mechanism(AnonymousServer.name) is not None
    )


async def _log_in(
    connection: FTPConnection, success: Success, mechanism: str = "password", code: int = 230
) -> None:
    try:
        home = await connection.login(success, IFileHome, mechanism)
    except (AuthenticationFailed, AuthorizationFailed) as error:
        if connection.logins_exhausted:
            connection.end(f"{error.text}; too many attempts")
        else:
            connection.reply(530, error.text)
        return
    except MailError as error:
        connection.reply(451, error.text)
        return
    if not connection.enter(home):
        connection.end("There are too many connections to your account already")
        return
    connection.reply(code, "Logged in")


def auth(connection: FTPConnection, argument: bytes) -> None:
    """RFC 4217 section 4."""
    if argument.upper() not in (b"TLS", b"TLS-C"):
        raise CommandError("The only mechanism here is TLS", 504)
    if connection.encrypted:
        raise CommandError("This connection is under TLS already", 503)
    if not connection.can_start_tls:
        raise CommandError("There is no TLS here", 431)
    connection.leave()
    connection.session = Session()
    connection.reply(234, "Begin TLS")
    connection.start_tls()


def pbsz(connection: FTPConnection, argument: bytes) -> None:
    """RFC 4217 section 8: TLS has no buffer of that kind."""
    if not connection.encrypted:
        raise CommandError("Send AUTH TLS first", 503)
    parse_number(argument)
    connection.session.buffer_size_set = True
    connection.reply(200, "PBSZ=0")


def prot(connection: FTPConnection, argument: bytes) -> None:
    """RFC 4217 section 9."""
    if not connection.session.buffer_size_set:
        raise CommandError("Send AUTH TLS and PBSZ 0 first", 503)
    level = argument.upper()
    if level in (b"S", b"E"):
        raise CommandError("TLS knows PROT C and PROT P only", 536)
    if level not in (b"C", b"P"):
        raise CommandError("PROT is C (clear) or P (private)", 504)
    if level == b"C" and connection.factory.protect_data:
        # RFC 2228 section 3
        raise CommandError("Data connections are under TLS here", 534)
    connection.drop_channel()
    connection.session.protected = level == b"P"
    connection.reply(200, "Data connections are now " + ("private" if level == b"P" else "clear"))


# What the session is like.


def type_(connection: FTPConnection, argument: bytes) -> None:
    words = tuple(argument.upper().split())
    if words not in ((b"A",), (b"A", b"N"), (b"I",), (b"L", b"8"), (b"L8",)):
        raise CommandError("TYPE is A (text) or I (octets)", 504)
    connection.session.binary = words[0] != b"A"
    connection.reply(200, "TYPE is " + ("I" if connection.session.binary else "A"))


def _only(value: bytes, name: str) -> Handler:
    def handler(connection: FTPConnection, argument: bytes) -> None:
        if argument.upper() != value:
            raise CommandError(f"{name} is {value.decode()} here, and nothing else", 504)
        connection.reply(200, f"{name} is {value.decode()}")

    return handler


def opts(connection: FTPConnection, argument: bytes) -> None:
    """RFC 2389 section 4."""
    name, _, rest = argument.upper().partition(b" ")
    if name == b"UTF8" and rest in (b"", b"ON"):
        connection.reply(200, "Names are in UTF-8")
    elif name == b"MLST":
        # RFC 3659 section 7.9: facts that are not known here are left out.
        wanted = rest.decode("ascii", "replace").lower().split(";")
        facts = tuple(fact for fact in FACTS if fact in wanted)
        connection.session.facts = facts
        told = "".join(f"{fact};" for fact in facts)
        connection.reply(200, f"MLST OPTS {told}".rstrip())
    else:
        raise CommandError("There is no such option", 501)


def feat(connection: FTPConnection, argument: bytes) -> None:
    """RFC 2389 section 3."""
    parse_nothing(argument)
    facts = connection.session.facts
    told = "".join(f"{fact}{'*' * (fact in facts)};" for fact in FACTS)
    lines = ["EPRT", "EPSV", "MDTM", "MFMT", f"MLST {told}", "REST STREAM", "SIZE", "TVFS", "UTF8"]
    if connection.factory.tls_context is not None:
        lines += ["AUTH TLS", "PBSZ", "PROT"]
    connection.write(long_reply(211, "Features:", lines))


def help_(connection: FTPConnection, argument: bytes) -> None:
    connection.write(long_reply(214, "Commands:", [" ".join(VERBS)]))


def stat(connection: FTPConnection, argument: bytes) -> _Waiting:
    if argument:
        if not connection.session.account:
            raise CommandError("Log in first", 530)
        return _stat_path(connection, argument)
    session = connection.session
    lines = [
        f"Logged in as {session.account}" if session.account else "Not logged in",
        f"TYPE {'I' if session.binary else 'A'}, STRU F, MODE S",
        f"Control connection {'under TLS' if connection.encrypted else 'in the clear'},"
        f" data connections {'under TLS' if session.protected else 'in the clear'}",
    ]
    if connection.transferring:
        # Told at once, so nothing is asked of the files.
        if connection.channel is not None:
            lines.append(f"A transfer is at work: {connection.channel.moved} octets until now")
    elif session.account and ICountedHome.providedBy(connection.home):
        return _stat_files(connection, lines)
    connection.write(long_reply(211, "Status:", lines))
    return None


async def _stat_files(connection: FTPConnection, lines: list[str]) -> None:
    usage = await connection.home.get_usage()
    for name, there, limit in (
        ("Octets of your files", usage.octets, usage.max_octets),
        ("Files and directories", usage.files, usage.max_files),
    ):
        lines.append(f"{name}: {there} of {limit or 'no limit'}")
    connection.write(long_reply(211, "Status:", lines))


async def _stat_path(connection: FTPConnection, argument: bytes) -> None:
    now = connection.clock.seconds()
    pieces, _ = await find_listing(connection, argument)
    connection.write(b"213-Status:\r\n")
    async for entries in pieces:
        await connection.drain()
        for entry in entries:
            connection.write(f" {list_line(entry, now)}\r\n".encode())
    connection.reply(213, "End")


def system(connection: FTPConnection, argument: bytes) -> None:
    connection.reply(215, "UNIX Type: L8")


def noop(connection: FTPConnection, argument: bytes) -> None:
    connection.reply(200, "Still here")


def superfluous(connection: FTPConnection, argument: bytes) -> None:
    connection.reply(202, "There is no need for that here")


def quit_(connection: FTPConnection, argument: bytes) -> None:
    connection.reply(221, "Goodbye")
    connection.close(asked_for=True)


# Directories.


def pwd(connection: FTPConnection, argument: bytes) -> None:
    connection.reply(257, f"{quoted(connection.session.directory)} is where you are")


async def cwd(connection: FTPConnection, argument: bytes) -> None:
    session = connection.session
    path = parse_path(argument, session.directory)
    entry = await connection.home.get_entry(path=path)
    if not entry.is_directory:
        raise CommandError("That is not a directory", 550)
    session.directory = path
    connection.reply(250, f"{quoted(path)} is where you are now")


def cdup(connection: FTPConnection, argument: bytes) -> _Waiting:
    parse_nothing(argument)
    return cwd(connection, b"..")


async def mkd(connection: FTPConnection, argument: bytes) -> None:
    path = parse_path(argument, connection.session.directory)
    await connection.home.make_directory(path=path)
    connection.reply(257, f"{quoted(path)} is there now")


async def rmd(connection: FTPConnection, argument: bytes) -> None:
    path = parse_path(argument, connection.session.directory)
    await connection.home.remove_directory(path=path)
    connection.reply(250, "The directory is gone")


# Files.


async def dele(connection: FTPConnection, argument: bytes) -> None:
    path = parse_path(argument, connection.session.directory)
    await connection.home.remove_file(path=path)
    connection.reply(250, "The file is gone")


async def rnfr(connection: FTPConnection, argument: bytes) -> None:
    path = parse_path(argument, connection.session.directory)
    entry = await connection.home.get_entry(path=path)
    if "f" not in entry.rights:
        raise CommandError("That cannot be renamed", 550)
    connection.session.rename_from = path
    connection.reply(350, "Now send RNTO")


async def rnto(connection: FTPConnection, argument: bytes) -> None:
    session = connection.session
    old, session.rename_from = session.rename_from, None
    if old is None:
        raise CommandError("Send RNFR first", 503)
    new = parse_path(argument, session.directory)
    await connection.home.rename(old=old, new=new)
    connection.reply(250, "Renamed")


async def size(connection: FTPConnection, argument: bytes) -> None:
    """RFC 3659 section 4."""
    if not connection.session.binary:
        raise CommandError("The size depends on line ends: send TYPE I first", 550)
    path = parse_path(argument, connection.session.directory)
    entry = await connection.home.get_entry(path=path)
    if entry.is_directory:
        raise CommandError("That is a directory", 550)
    connection.reply(213, str(entry.size))


async def mdtm(connection: FTPConnection, argument: bytes) -> None:
    """RFC 3659 section 3."""
    path = parse_path(argument, connection.session.directory)
    entry = await connection.home.get_entry(path=path)
    if entry.modified is None:
        raise CommandError("Nobody knows when that was changed", 550)
    connection.reply(213, time_value(entry.modified))


async def mfmt(connection: FTPConnection, argument: bytes) -> None:
    """What MDTM tells from then on (draft-somers-ftp-mfxx), as clients that mirror ask for."""
    value, _, name = argument.partition(b" ")
    seconds = parse_time(value)
    path = parse_path(name, connection.session.directory)
    if not ITimedHome.providedBy(connection.home):
        raise CommandError("Times cannot be set here", 550)
    await connection.home.set_modified(path=path, seconds=seconds)
    connection.reply(213, f"Modify={time_value(seconds)}; {shown(path)}")


async def mlst(connection: FTPConnection, argument: bytes) -> None:
    """RFC 3659 section 7."""
    session = connection.session
    path = parse_path(argument, session.directory) if argument else session.directory
    entry = await connection.home.get_entry(path=path)
    line = facts_line(entry, session.facts, shown(path))
    connection.write(long_reply(250, "Facts:", [line]))


def rest(connection: FTPConnection, argument: bytes) -> None:
    """RFC 3659 section 5."""
    offset = parse_number(argument)
    if offset and not connection.session.binary:
        raise CommandError("REST needs TYPE I", 501)
    connection.session.restart = offset
    connection.reply(350, f"The next transfer begins at {offset}")


VERBS: dict[str, Verb] = {
    "USER": Verb(user, True),
    "PASS": Verb(pass_, True),
    "AUTH": Verb(auth, True),
    "PBSZ": Verb(pbsz, True),
    "PROT": Verb(prot, True),
    "FEAT": Verb(feat, True),
    "OPTS": Verb(opts, True),
    "HELP": Verb(help_, True),
    "STAT": Verb(stat, True),
    "SYST": Verb(system, True),
    "NOOP": Verb(noop, True),
    "QUIT": Verb(quit_, True),
    "ACCT": Verb(superfluous, True),
    "ALLO": Verb(superfluous),
    "TYPE": Verb(type_),
    "MODE": Verb(_only(b"S", "MODE")),
    "STRU": Verb(_only(b"F", "STRU")),
    "PWD": Verb(pwd),
    "XPWD": Verb(pwd),
    "CWD": Verb(cwd),
    "XCWD": Verb(cwd),
    "CDUP": Verb(cdup),
    "XCUP": Verb(cdup),
    "MKD": Verb(mkd),
    "XMKD": Verb(mkd),
    "RMD": Verb(rmd),
    "XRMD": Verb(rmd),
    "DELE": Verb(dele),
    "RNFR": Verb(rnfr),
    "RNTO": Verb(rnto),
    "SIZE": Verb(size),
    "MDTM": Verb(mdtm),
    "MFMT": Verb(mfmt),
    "MLST": Verb(mlst),
    "REST": Verb(rest),
    "PASV": Verb(moving.pasv),
    "EPSV": Verb(moving.epsv),
    "PORT": Verb(moving.port),
    "EPRT": Verb(moving.eprt),
    "ABOR": Verb(moving.abor),
    "LIST": Verb(moving.list_),
    "NLST": Verb(moving.nlst),
    "MLSD": Verb(moving.mlsd),
    "RETR": Verb(moving.retr),
    "STOR": Verb(moving.stor),
    "APPE": Verb(moving.appe),
    "STOU": Verb(moving.stou),
}
