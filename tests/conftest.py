"""What holds for all tests: the array API's checks, Ctrl-C, and which cases a quick run leaves out. And the
fixtures of tests that fill several files; they import the package when they are used."""

import os
import signal
from collections import defaultdict

import pytest

# Before SciPy is imported, so that scikit-learn's array API check is run and not skipped.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# Ctrl-C raises KeyboardInterrupt, also where the tests run as a job in the background: such a one is born
# with SIGINT ignored, for which Python installs no handler, and hands that on to the processes it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--long", action="store_true", help="also tests marked `long`, all cases of those marked `sampled`"
    )


def pytest_collection_modifyitems(config, items):
    """No test marked `long`; of one marked `sampled(k)` every k-th case, so that each value is met if k
    divides no number of values."""
    if config.getoption("--long"):
        return
    seen, kept, left_out = defaultdict(int), [], []
    for item in items:
        if item.get_closest_marker("long") is not None:
            left_out.append(item)
            continue
        mark = item.get_closest_marker("sampled")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if (seen[test] - 1) % mark.args[0]:
                left_out.append(item)
                continue
        kept.append(item)
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)


# --- the kernel cache -----------------------------------------------------------------------------
@pytest.fixture
def nothing_said(monkeypatch):
    """As in a new process, where every warning is still to come."""
    monkeypatch.setattr("skrnn.backends.kernel_cache.said", set())
    monkeypatch.setattr("skrnn.backends.kernel_cache.used", set())


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory for this test alone."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Three empty places for kernels, the only ones."""
    from skrnn.backends import disk

    made = [tmp_path / name / disk.FOLDER for name in ("first", "second", "third")]
    monkeypatch.setattr(disk, "places", lambda module: made)
    return made


# --- tapes ----------------------------------------------------------------------------------------
@pytest.fixture
def compiled(monkeypatch):
    """Replays in compiled code, also where the tests run with NUMBA_BOUNDSCHECK=1."""
    monkeypatch.setattr("numba.core.config.BOUNDSCHECK", 0)


@pytest.fixture(params=["compiled", "python"])
def build(request, monkeypatch):
    """Replays in compiled code, and from Python as with NUMBA_BOUNDSCHECK=1."""
    monkeypatch.setattr("numba.core.config.BOUNDSCHECK", int(request.param == "python"))
    return request.param


@pytest.fixture
def pool(monkeypatch):
    """Three helpers, whatever the machine has, that stay awake; replays wait for those that they wake."""
    from replays import states, wait_for

    from skrnn.backends.cpu import threads

    pool = threads.Pool(3)
    pool.boxes[threads.PATIENCE :: threads.BOX] = 2**60
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threads, "usable_processors", lambda: 4)
    monkeypatch.setattr(threads, "LOOK_FLOPS", 1.0)
    yield pool
    pool.boxes[threads.PATIENCE :: threads.BOX] = 0
    wait_for(lambda: states(pool) <= {threads.ASLEEP})  # none is still hired or busy
