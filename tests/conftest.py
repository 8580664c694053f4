"""What holds for all tests: the array API's checks, Ctrl-C, and which cases a quick run leaves out."""

import os
import signal
from collections import defaultdict

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
