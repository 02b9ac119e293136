"""The user that the embedded PostgreSQL runs as when the relay runs as root, and what this user can enter."""

import grp
import hashlib
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

UNUSED_IDS = range(60_578, 61_184)  # neither accounts nor systemd use them, and containers with 65,536 ids have them


class Owner(NamedTuple):
    """The user and group that the server runs as."""

    uid: int
    gid: int

    @property
    def has_account(self) -> bool:
        with suppress(KeyError):
            return bool(pwd.getpwuid(self.uid))
        return False


def owner_of(path: Path) -> Owner:
    status = path.stat()
    return Owner(status.st_uid, status.st_gid)


def new_owner(data_dir: Path) -> Owner:
    """Who runs the server of new data: this process's user; for root, the owner of the folder, or an id without account."""
    if os.geteuid() != 0:
        return Owner(os.geteuid(), os.getegid())
    if (owner := owner_of(data_dir)).uid != 0:
        return owner
    used = {account.pw_uid for account in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    first = int.from_bytes(hashlib.sha256(os.fsencode(data_dir)).digest()) % len(UNUSED_IDS)
    candidates = (UNUSED_IDS[(first + number) % len(UNUSED_IDS)] for number in range(len(UNUSED_IDS)))
    unused = next(number for number in candidates if number not in used)
    return Owner(unused, unused)


def closed_folder(path: Path, owner: Owner) -> Path | None:
    """The first of `path` and the folders above it that the owner cannot enter; None when it can reach `path`."""
    return next((folder for folder in (path, *path.parents) if not _may_enter(folder.stat(), owner)), None)


def give(path: Path, owner: Owner) -> None:
    """Change the owner of a folder and of everything in it. Links are not followed."""
    for entry in (path, *path.rglob("*")) if path.exists() else ():
        os.chown(entry, *owner, follow_symlinks=False)


def _may_enter(status: os.stat_result, owner: Owner) -> bool:
    """Whether the user may enter the folder, or execute the file. Of the three permissions the first that applies counts."""
    bit = stat.S_IXUSR if status.st_uid == owner.uid else stat.S_IXGRP if status.st_gid == owner.gid else stat.S_IXOTH
    return bool(status.st_mode & bit)
