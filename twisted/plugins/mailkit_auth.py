"""The user bases that mailkit adds to ``--auth``; their modules are loaded when one is used."""

from mailkit.tap.user_bases import UserBaseFactory

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
