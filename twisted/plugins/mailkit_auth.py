"""The user bases that mailkit adds to ``--auth``; their modules are loaded when one is used."""

from mailkit.interfaces import IBearerToken
from mailkit.tap.user_bases import UserBaseFactory, parse_list, parse_seconds, parse_switch

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

pam = UserBaseFactory(
    "pam",
    """
Users of this machine, or whoever else PAM knows, by a service of /etc/pam.d. threads= are users who
are verified at the same time (default 4), timeout= seconds until there must be an answer.
    """,
    "service",
    {"service": str, "threads": int, "timeout": parse_seconds},
    "mailkit.auth.pam_users",
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

http = UserBaseFactory(
    "http",
    """
Users whom a program of yours knows. It gets a POST with JSON: {"action": "login", "user": "...",
"password": "..."}, and answers with {"ok": true, "account": "..."} or {"ok": false}. With find=yes it
is asked for addresses too, by "action": "find". secret-file= holds what goes along as a bearer
token, ca-file= the authorities to believe. http: only for a program on this machine. A colon of
a value has a backslash before it, but for that of https://.
    """,
    "url",
    {
        "url": str,
        "secret-file": str,
        "find": parse_switch,
        "ca-file": str,
        "timeout": parse_seconds,
    },
    "mailkit.auth.http_users",
)

oidc = UserBaseFactory(
    "oidc",
    """
Users with a password at an identity provider of OpenID Connect, which is asked for a token by it (the
grant "password"), for programs that know no tokens: those come by the base oauth. client-id= is what
ISSUER calls this server, client-secret-file= holds the secret, claim= names the account (default
email), scope= is what is asked for (default "openid email"), ca-file= the authorities to believe.
Needs the extra oauth.
    """,
    "issuer",
    dict.fromkeys(("issuer", "client-id", "client-secret-file", "claim", "scope", "ca-file"), str),
    "mailkit.auth.oauth.grant",
)

ldap = UserBaseFactory(
    "ldap",
    """
Users in a directory that speaks LDAP, at one URL or several with spaces between. They bind as
themselves, at dn= with %u (user name), %n (its local part) and %d (its domain) in it, or at the entry
below search= that filter= finds (default (mail=%u)). With password= that attribute is read and
compared instead; account= names the one with the account's name. bind-dn= and bind-password-file=
say who searches, ca= a file with authorities, start-tls= yes or no (default yes, unless the server
is on this machine). Best in a settings file, as [[auth]] with base = "ldap".
    """,
    "url",
    {
        **dict.fromkeys(("url", "dn", "search", "filter", "bind-dn", "bind-password-file"), str),
        **dict.fromkeys(("account", "password", "scheme", "ca"), str),
        "start-tls": parse_switch,
        "threads": int,
        "timeout": parse_seconds,
    },
    "mailkit.auth.ldap",
)

oauth = UserBaseFactory(
    "oauth",
    """
Users with tokens of OAuth 2.0 (SASL OAUTHBEARER and XOAUTH2). ISSUER is a URL, as it stands in its
tokens; audience= what they call this server. The user's name is in the claim email, or that of
claim=. Signatures are verified by the issuer's keys, which it tells, or which are at keys=. Tokens
that only the issuer can read: introspection=yes or a URL, with client-id= and client-secret-file=.
Also scope=, algorithms=RS256,..., hosts= (names of this server), leeway= and cache= in seconds, ca-file=. A colon of a value has a
backslash before it, but for that of https://. Needs the extra oauth.
    """,
    "issuer",
    {
        "issuer": str,
        "audience": parse_list,
        "claim": str,
        "scope": str,
        "algorithms": parse_list,
        "hosts": parse_list,
        "leeway": parse_seconds,
        "keys": str,
        "introspection": str,
        "client-id": str,
        "client-secret-file": str,
        "cache": parse_seconds,
        "ca-file": str,
    },
    "mailkit.auth.oauth.settings",
    IBearerToken,
)
