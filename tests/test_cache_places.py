"""Where kernels are kept: directories in order, and what happens when one cannot be used."""

import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import config
from probe import COMPILED, LOADED, files, fresh, posix, run

from skrnn.backends import disk, kernel_cache

pytestmark = pytest.mark.usefixtures("nothing_said")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, and no NUMBA_CACHE_DIR."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    return tmp_path


HERE = Path(__file__).parent / "__pycache__" / "skrnn"


def test_places_in_order(home, monkeypatch):
    cache = home / disk.AT_HOME / "skrnn"
    assert disk.places(__name__) == [HERE, cache]
    monkeypatch.setattr(config, "CACHE_DIR", str(home / "kernels"))
    assert disk.places(__name__) == [home / "kernels" / "skrnn", HERE, cache]
    monkeypatch.setattr(config, "CACHE_DIR", "~/kernels")  # a Dockerfile's ENV expands nothing
    assert disk.places(__name__) == [home / "kernels" / "skrnn", HERE, cache]
    if disk.VARIABLE:
        monkeypatch.setenv(disk.VARIABLE, str(home / "mine"))
        assert disk.places(__name__)[-1] == home / "mine" / "skrnn"
        monkeypatch.setenv(disk.VARIABLE, "mine")  # to be ignored, says the specification
        assert disk.places(__name__)[-1] == cache


def test_nothing_is_kept_beside_a_module_without_a_source_file(home, monkeypatch):
    cache = [home / disk.AT_HOME / "skrnn"]
    module = SimpleNamespace(__file__=str(home / "module.py"))
    monkeypatch.setitem(sys.modules, "module", module)
    assert disk.places("module") == cache  # as in an archive, or written down at a compilation elsewhere
    (home / "module.py").write_text("")
    assert disk.places("module") == [home / "__pycache__" / "skrnn", *cache]
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # it may have unpacked that for this run alone
    assert disk.places("module") == cache
    monkeypatch.delattr(sys, "frozen")
    (home / "module.pyc").write_bytes(b"")
    module.__file__ = str(home / "module.pyc")
    assert disk.places("module") == cache
    assert disk.places("no module") == cache


@pytest.mark.parametrize("value", ["/nowhere/at/all", "somewhere", "~", "."])
def test_without_a_home_there_is_no_place_for_it(home, monkeypatch, value):
    """Above all not `./~`, where anybody may have put files."""
    monkeypatch.chdir(home)
    (home / "~" / ".cache").mkdir(parents=True)
    (home / "somewhere" / ".cache").mkdir(parents=True)
    monkeypatch.setenv("HOME", value)
    monkeypatch.setenv("USERPROFILE", value)
    assert disk.places("no module") == []


@posix
def test_without_a_home_and_a_name(home, monkeypatch):
    import pwd

    def getpwuid(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    monkeypatch.setattr(config, "CACHE_DIR", "~/kernels")
    assert disk.places("no module") == []


@contextmanager
def reading_only(directory):
    """Nobody but root can write to a directory meanwhile, and this is not root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    else:
        directory.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            (directory / "file").touch()
        yield
    finally:
        if root:
            os.seteuid(0)
        else:
            directory.chmod(0o755)


@pytest.fixture
def open_path():
    """A directory that every user can get to."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@posix
def test_what_root_has_warmed_up_is_read(open_path, monkeypatch):
    """As in a container that was built by root, and runs as whoever has no home."""
    place = open_path / "skrnn"
    monkeypatch.setattr(disk, "places", lambda module: [place])
    assert run(fresh()) == COMPILED
    before = sorted(place.iterdir())
    with reading_only(place):
        assert run(fresh()) == LOADED
        with pytest.warns(RuntimeWarning, match=r"not kept.*Permission denied.*NUMBA_CACHE_DIR"):
            assert fresh(5)(np.ones(4)) == 20
        assert fresh(7)(np.ones(4)) == 28  # nothing more is said
    assert sorted(place.iterdir()) == before


def test_reading_here_and_writing_there(places, monkeypatch):
    first, second, third = places
    prepare, read_only = disk.prepare, []

    def refuse(directory):
        if directory in read_only:
            raise OSError(30, "Read-only file system")
        prepare(directory)

    monkeypatch.setattr(disk, "prepare", refuse)
    assert run(fresh()) == COMPILED
    assert kernel_cache.used == {first}
    read_only.append(first)
    assert run(fresh()) == LOADED
    for expected in ((0, 1), (1, 0)):
        kernel = fresh(5)
        assert kernel(np.ones(4)) == 20
        assert (sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())) == expected
    assert [len(files(place)) for place in places] == [1, 1, 0]
    assert kernel_cache.used == {first, second}
    read_only.remove(first)  # where kernels can be kept, there they are to be found
    assert fresh(5)(np.ones(4)) == 20
    assert [len(files(place)) for place in places] == [2, 1, 0]


def test_no_directory_can_be_written_to(monkeypatch):
    monkeypatch.setattr(disk, "places", lambda module: [])
    kernel = fresh()
    assert kernel.stats.cache_path is None
    with pytest.warns(RuntimeWarning, match="no home directory. Set NUMBA_CACHE_DIR"):
        assert run(kernel) == COMPILED
    assert run(fresh()) == COMPILED  # nothing more is said


def test_the_cache_directory_is_a_file(places):
    """Then the next one is taken."""
    places[0].parent.write_text("not a directory")
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED
    assert kernel_cache.used == {places[1]}


def test_the_directory_goes_away_before_the_kernel_is_kept(places, monkeypatch):
    kernel, write = fresh(), disk.write

    def away(path, *parts):
        if path.parent == places[0]:
            shutil.rmtree(path.parent)
            path.parent.write_text("in the way")
        write(path, *parts)

    monkeypatch.setattr(disk, "write", away)
    assert run(kernel) == COMPILED
    assert places[0].read_text() == "in the way"
    assert run(fresh()) == LOADED
    assert kernel_cache.used == {places[1]}


@pytest.mark.parametrize("name", ["replace", "open"])
def test_a_full_or_read_only_disk(places, monkeypatch, name):
    kernel = fresh()

    def fail(path, *args, **kwargs):
        if str(path).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        original = getattr(os, name)
        patch.setattr(os, name, fail)
        with pytest.warns(RuntimeWarning, match="not kept.*No space left on device"):
            assert run(kernel) == COMPILED
    assert not any(list(place.iterdir()) for place in places)


@pytest.mark.parametrize("name", ["replace", "open"])
def test_an_interrupt_while_a_kernel_is_kept(places, monkeypatch, name):
    kernel = fresh()

    def interrupted(path, *args, **kwargs):
        if str(path).endswith(".tmp"):
            raise KeyboardInterrupt
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        original = getattr(os, name)
        patch.setattr(os, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(kernel)
    assert not list(places[0].iterdir())
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED


def age(path, seconds):
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.mark.parametrize("expected", [LOADED, COMPILED])
def test_what_killed_processes_left_is_cleared_away(directory, expected):
    run(fresh())
    (file,) = files(directory)
    left = age(file.with_name(f"{file.name}.0123.tmp"), 2 * 3600)  # nobody writes for two hours
    running = age(file.with_name(f"{file.name}.4567.tmp"), 10)
    if expected == COMPILED:
        file.unlink()
    kernel_cache.used.clear()  # as in a new process
    assert run(fresh()) == expected
    assert not left.exists()
    assert running.exists()


def test_older_versions_are_cleared_away(directory):
    run(fresh())
    (file,) = files(directory)
    version = file.name.split("-")[1]
    old = age(file.with_name(file.name.replace(version, "01234567")), 2 * 86_400)
    beside = age(file.with_name(file.name.replace(version, "89abcdef")), 3600)
    stranger = age(file.with_name(f"stranger-01234567-{'0' * 24}.nbc"), 2 * 86_400)
    age(file, 2 * 86_400)
    fresh(5)(np.ones(4))  # of the same name, and another key
    assert not old.exists()
    assert beside.exists()
    assert stranger.exists()
    assert run(fresh()) == LOADED
