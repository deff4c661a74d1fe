"""The user bases that mailkit adds to ``--auth``; their modules are loaded when one is used."""

from mailkit.tap.user_bases import UserBaseFactory, parse_seconds

passwd_file = UserBaseFactory(
    "passwd-file",
    """
Users in a file, one a line, as Dovecot has them: user:{SCHEME}hash:uid:gid:gecos:home:shell:extra.
The hash is what `doveadm pw` writes, or crypt's. Of the fields behind it only the extra ones are
read: user=NAME, nologin. The file is read again when it changes. scheme= is that of hashes that do
not tell theirs (default CRYPT).
    """,
    "path",
    {"path": str, "scheme": str},
    "mailkit.auth.passwd_file",
)

sql = UserBaseFactory(
    "sql",
    """
Users in a database. The query gives a user's row, with the stored password in its column password
(or in its only one) and perhaps the account's name in account; %u in it is the user name, %n its
local part, %d its domain, bound as values. driver= is a module of DB-API 2.0 (default sqlite3;
psycopg for PostgreSQL), connect= what it connects to, scheme= that of passwords that do not tell
theirs (default CRYPT). Best in a settings file, as [[auth]] with base = "sql".
    """,
    "query",
    {
        "query": str,
        "connect": str,
        "driver": str,
        "scheme": str,
        "threads": int,
        "timeout": parse_seconds,
    },
    "mailkit.auth.sql",
)
