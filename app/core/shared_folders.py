"""Files in folders where other users of the machine can write, such as /tmp: what they put there is not followed or read."""

import errno
import os
import stat
from pathlib import Path


class UnsafeFileError(ValueError):
    """A file was put in place by another user, or may have been. The message gives the cause and what to do."""


def open_own_file(path: Path, owner: int, mode: int, flags: int) -> int:
    """Open a file for writing, and create it if necessary, as a file descriptor of mode `mode`.

    Raises UnsafeFileError when the file is a link or no regular file, or belongs neither to this user nor to user `owner`: the
    text would be written into another file, or another user could read it.
    """
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise _unsafe(path, "is a link, or not a file") from None
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        problem = "is a link, or not a file"
    elif status.st_uid not in {os.geteuid(), owner}:
        problem = f"belongs to user {status.st_uid}"
    else:
        os.fchmod(file, mode)  # of a file that was there before, and whatever the umask is
        return file
    os.close(file)
    raise _unsafe(path, problem)


def is_shared(folder: Path) -> bool:
    """Whether every user of the machine may add files to the folder, as to /tmp. A folder of this user counts only if it is
    sticky: on file systems without modes (Windows drives), every folder looks as if everybody could write."""
    try:
        status = folder.stat()
    except OSError:
        return False
    own = status.st_uid == os.geteuid() != 0
    return bool(status.st_mode & stat.S_IWOTH) and (not own or bool(status.st_mode & stat.S_ISVTX))


def check_settings_file(path: Path) -> None:
    """Raises UnsafeFileError for a file of settings that another user put into a shared folder: it can send keys elsewhere."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return
    if owner not in {0, os.geteuid()} and is_shared(path.absolute().parent):
        raise _unsafe(path.absolute(), f"belongs to user {owner}, in a folder where everybody can write")


def _unsafe(path: Path, problem: str) -> UnsafeFileError:
    return UnsafeFileError(f"{path} {problem}. Another user may have put it there; remove it, or use another folder.")
