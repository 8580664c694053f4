"""Where compiled kernels lie on disk, and whose files are read.

A file that is loaded is code that runs. So it must be of this user or of root, in a directory of this
user or of root, and nobody else may be able to write to either. Each place is therefore a directory of
its own inside of what the user or the system names, made with a mode that a loose umask does not widen.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from numba.core import config

FOLDER = "skrnn"
HOUR, DAY = 3600, 86_400

# Where the system keeps a user's caches: an environment variable that says so, and else a folder at home.
VARIABLE, AT_HOME = {
    "win32": ("LOCALAPPDATA", "AppData/Local"),
    "darwin": ("", "Library/Caches"),
}.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))


# --- places -----------------------------------------------------------------------------------------
def users_cache() -> Path | None:
    """The user's folder for caches; None where there is no home: not `./~`, which anybody may have made."""
    named, home = os.environ.get(VARIABLE, ""), os.path.expanduser("~")
    if os.path.isabs(named):
        return Path(named)
    return Path(home, AT_HOME) if os.path.isabs(home) and os.path.isdir(home) else None


def places(module: str) -> list[Path]:
    """Directories for the kernels of a module: they are read in this order, up to one to write to.

    NUMBA_CACHE_DIR if it is set, then beside the module if that is a source file, then the user's cache.
    """
    found = []
    if config.CACHE_DIR and not (named := os.path.expanduser(config.CACHE_DIR)).startswith("~"):
        found.append(Path(named))
    source = getattr(sys.modules.get(module), "__file__", None) or ""
    # Not from an archive, and not a frozen application, which unpacks itself anew for each run.
    if source.endswith(".py") and os.path.isfile(source) and not hasattr(sys, "frozen"):
        found.append(Path(source).parent / "__pycache__")
    if (cache := users_cache()) is not None:
        found.append(cache)
    return [place / FOLDER for place in found]


# --- whose --------------------------------------------------------------------------------------------
def trusted(status: os.stat_result) -> bool:
    """Whether only this user or root can have written what has this status."""
    if os.name != "posix":  # modes tell nothing there; folders at home are closed to others
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def open_no_link(path: str, flags: int) -> int:
    """For `open`: not what somebody else's link leads to, and no waiting for the end of a pipe."""
    for name in ("O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)  # not on Windows
    return os.open(path, flags, 0o644)


def check_directory(directory: Path) -> None:
    """Raise an OSError unless this is a directory that may be read from."""
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(0, "a link, or no directory")
    if not trusted(status):
        raise PermissionError(0, "of another user, or others can write to it")


def read(path: Path) -> bytes | None:
    """The contents of a file; None where it is missing, unreadable or not to be trusted."""
    try:
        check_directory(path.parent)
        with open(path, "rb", opener=open_no_link) as file:
            status = os.fstat(file.fileno())  # of the very file that is read
            return file.read() if stat.S_ISREG(status.st_mode) and trusted(status) else None
    except OSError:
        return None


# --- writing ------------------------------------------------------------------------------------------
def prepare(directory: Path) -> None:
    """Make a directory if need be; an OSError unless files can be kept there and will be read again."""
    directory.mkdir(0o755, parents=True, exist_ok=True)
    check_directory(directory)
    tempfile.TemporaryFile(dir=directory).close()


def write(path: Path, *parts: bytes) -> None:
    """Write a file beside the target and rename it: another process sees all of it or none."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=open_no_link) as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt, too, leaves nothing behind
        with suppress(OSError):
            temporary.unlink()
        # Windows replaces no file that another process has open: which has kept the same kernel, then.
        if not (os.name == "nt" and isinstance(error, PermissionError) and path.exists()):
            raise


def clear(directory: Path, pattern: str, age: float, but: str = "/") -> None:
    """Delete what matches a pattern, if it is old and its name does not contain `but`."""
    for path in directory.glob(pattern):
        with suppress(OSError):  # another process may be faster, or the directory be read-only
            if but not in path.name and time.time() - path.stat().st_mtime > age:
                path.unlink()


def clear_unfinished(directory: Path) -> None:
    """Delete what processes were killed over, and not what one is writing at the moment."""
    clear(directory, "*.tmp", HOUR)


def clear_versions(directory: Path, name: str, version: str) -> None:
    """Delete a kernel of other versions of the package, but not of one in use beside this one."""
    clear(directory, f"{name}-????????-*.nbc", DAY, but=f"-{version}-")
