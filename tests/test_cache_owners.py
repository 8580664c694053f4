"""Whose kernels are loaded: files that nobody else can have written."""

import hashlib
import os
import pickle
import stat
from types import SimpleNamespace

import pytest
from probe import COMPILED, LOADED, files, fresh, posix, run

from skrnn.backends import disk, kernel_cache

pytestmark = pytest.mark.usefixtures("nothing_said")


def plant(file, mark):
    """A file that is right in all but who wrote it: unpickled, it makes a directory."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    data = file.read_bytes()
    header, evil = data[: data.index(b"\n") + 1], pickle.dumps(Evil())
    file.write_bytes(header + hashlib.sha256(header + evil).digest() + evil)


def widen(file, mode):
    file.chmod(mode)


def widen_directory(file, mode):
    file.parent.chmod(mode)


def link(file, _):
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def link_directory(file, _):
    file.parent.rename(file.parent.parent / "elsewhere")
    file.parent.symlink_to(file.parent.parent / "elsewhere")


def give_away(file, uid):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(file, uid, -1)


def give_directory_away(file, uid):
    give_away(file.parent, uid)


@posix
@pytest.mark.parametrize(
    ("expose", "how"),
    [
        (widen, 0o664), (widen, 0o646), (widen, 0o666), (widen_directory, 0o775), (widen_directory, 0o1777),
        (widen_directory, 0o777), (link, None), (link_directory, None), (give_away, 65534),
        (give_directory_away, 65534),
    ],
)  # fmt: skip
def test_what_others_can_write_to_is_not_loaded(places, expose, how):
    run(fresh())
    (file,) = files(places[0])
    plant(file, places[0].parent / "executed")
    expose(file, how)
    kernel_cache.used.clear()
    assert run(fresh()) == COMPILED
    assert not (places[0].parent / "executed").exists()
    assert run(fresh()) == LOADED
    # A file is replaced; a directory that others can write to is left alone, for the next place.
    assert kernel_cache.used == {places[0] if expose in (widen, link, give_away) else places[1]}


def test_what_is_planted_by_this_user_would_be_executed(places):
    """So that the test above can fail."""
    run(fresh())
    (file,) = files(places[0])
    plant(file, places[0].parent / "executed")
    with pytest.warns(RuntimeWarning, match="compiling again"):
        assert run(fresh()) == COMPILED
    assert (places[0].parent / "executed").exists()


@posix
@pytest.mark.parametrize(
    ("uid", "mode", "expected"),
    [
        (1000, 0o644, True), (0, 0o644, True), (0, 0o444, True), (1000, 0o600, True), (1000, 0o755, True),
        (1001, 0o644, False), (65534, 0o444, False), (1000, 0o664, False), (0, 0o646, False),
        (1000, 0o1777, False), (0, 0o1777, False),
    ],
)  # fmt: skip
def test_who_is_trusted(monkeypatch, uid, mode, expected):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert disk.trusted(SimpleNamespace(st_uid=uid, st_mode=stat.S_IFREG | mode)) is expected


@posix
def test_a_pipe_in_the_place_of_a_kernel_is_not_waited_for(places):
    run(fresh())
    (file,) = files(places[0])
    file.unlink()
    os.mkfifo(file)
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED
