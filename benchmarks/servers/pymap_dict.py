"""pymap's dict backend with many users: pymap_dict.py USERS DOMAIN PASSWORD PYMAP-ARGUMENTS."""

from __future__ import annotations

import sys
from typing import Any

from pymap import main
from pymap.backend.dict import DictBackend
from pymap.user import UserMetadata
from pysasl.hashing import BuiltinHash

count, domain, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
del sys.argv[1:4]
# One round, so that hashing is not what is measured.
hashed = BuiltinHash(rounds=1).hash(password)


async def _add_users(cls: type[DictBackend], config: Any, login: Any) -> None:
    for number in range(count):
        name = f"user{number}@{domain}"
        login.users_dict[name] = UserMetadata(config, name, password=hashed)


DictBackend._add_demo_user = classmethod(_add_users)
main.main()
