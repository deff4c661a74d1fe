"""How ``mailkit import pop3`` logs in: by a password, a token, or a ticket."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mailkit.wire.sasl_client import Credentials, SASLClient

#: Octets of a password or a token that are read.
MAX_PASSWORD = 64 * 1024
#: Seconds that a command has to show a token.
COMMAND_TIMEOUT = 120

#: The only mechanism that needs nothing of the below.
TICKETS = "GSSAPI"
#: Where a secret may come from, and the options that say so.
_SOURCES = {
    "password_stdin": "--password-stdin",
    "password_file": "--password-file",
    "password_env": "--password-env",
    "token_file": "--token-file",
    "token_command": "--token-command",
}

_F = TypeVar("_F", bound=Callable[..., Any])


def login_options(command: _F) -> _F:
    """The options of a command that logs in elsewhere."""
    path = click.Path(dir_okay=False)
    for option in reversed(
        [
            click.option("--user", required=True, help="Who logs in there."),
            click.option("--password-stdin", is_flag=True, help="Read the password from input."),
            click.option("--password-file", type=path, help="Read it from a file, first line."),
            click.option("--password-env", metavar="NAME", help="Read it from the environment."),
            click.option(
                "--token-file",
                type=path,
                help="Show a token of OAuth 2.0 instead, from a file, first line.",
            ),
            click.option(
                "--token-command",
                metavar="COMMAND",
                help="Show the token that a program prints, which is run without a shell.",
            ),
            click.option(
                "--mechanism",
                "mechanisms",
                metavar="NAME",
                multiple=True,
                help="Log in by this SASL mechanism alone, such as SCRAM-SHA-256, or GSSAPI with a"
                " ticket of Kerberos; may be repeated.",
            ),
        ]
    ):
        command = option(command)
    return command


def read_credentials(options: Mapping[str, Any]) -> Credentials:
    """Who logs in, and by what.

    :raises click.ClickException: there is nothing to log in by, or no such mechanism.
    """
    from mailkit.wire.sasl_client import Credentials

    _check_mechanisms(_names(options))
    given = [name for name in _SOURCES if options[name]]
    if len(given) > 1:
        named = " and ".join(_SOURCES[name] for name in given)
        raise click.UsageError(f"{named} exclude each other")
    user = options["user"]
    if not given and _names(options) == [TICKETS]:
        return Credentials(user)
    if given and given[0].startswith("token"):
        return Credentials(user, token=_read_secret(given[0], options))
    return Credentials(user, _read_secret(given[0] if given else "", options))


async def find_mechanisms(
    options: Mapping[str, Any],
) -> Mapping[str, Callable[[Credentials], SASLClient]]:
    """The mechanisms that may be used, which are known.

    :raises click.ClickException: there is no ticket.
    """
    from mailkit.wire.sasl_client import CLIENT_MECHANISMS

    names = _names(options)
    if not names:
        return CLIENT_MECHANISMS
    tickets: Mapping[str, Callable[[Credentials], SASLClient]] = {}
    if TICKETS in names:
        from mailkit.client.kerberos import KerberosError, get_ticket

        try:
            tickets = await get_ticket("pop", options["host"])
        except KerberosError as error:
            raise click.ClickException(str(error)) from error
    return {name: tickets[name] if name == TICKETS else CLIENT_MECHANISMS[name] for name in names}


def _names(options: Mapping[str, Any]) -> Sequence[str]:
    return [name.upper() for name in options["mechanisms"]]


def _check_mechanisms(names: Sequence[str]) -> None:
    from mailkit.kerberos import load_gssapi
    from mailkit.wire.sasl_client import CLIENT_MECHANISMS

    known = [TICKETS, *CLIENT_MECHANISMS]
    for name in names:
        if name not in known:
            text = f"there is no {name}; known are {', '.join(known)}"
            raise click.BadParameter(text, param_hint="--mechanism")
    if TICKETS in names:
        try:
            load_gssapi()
        except ImportError as error:
            raise click.ClickException(str(error)) from error


def _read_secret(source: str, options: Mapping[str, Any]) -> str:
    """
    :raises click.ClickException: there is none.
    """
    if source.endswith("_file"):
        try:
            with open(options[source], encoding="utf-8") as file:
                text = file.readline(MAX_PASSWORD)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            text = f"cannot read {options[source]}: {reason}"
            raise click.BadParameter(text, param_hint=_SOURCES[source]) from error
    elif source == "token_command":
        text = _ask_program(options[source])
    elif source == "password_env":
        text = os.environ.get(options[source], "")
    elif source == "password_stdin":
        text = sys.stdin.readline(MAX_PASSWORD)
    else:
        text = str(click.prompt("Password", hide_input=True, err=True))
    secret = text.rstrip("\r\n")
    if not secret:
        raise click.ClickException(f"there is no {'token' if 'token' in source else 'password'}")
    return secret


def _ask_program(command: str) -> str:
    """The first line that a program prints.

    :raises click.ClickException: it fails.
    """
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT,
            check=True,
        )
        return done.stdout[:MAX_PASSWORD].decode("ascii").partition("\n")[0]
    except UnicodeDecodeError:
        reason = "it prints no token"
    except subprocess.TimeoutExpired:
        reason = f"it has not ended after {COMMAND_TIMEOUT} seconds"
    except subprocess.CalledProcessError as error:
        reason = f"it has ended with {error.returncode}"
    except (OSError, ValueError, IndexError) as error:
        reason = str(error) or "it is empty"
    raise click.BadParameter(reason, param_hint=_SOURCES["token_command"])
