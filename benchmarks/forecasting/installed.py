"""Megabytes of a distribution and of all that it needs. ``installed.py NAME``, with any Python."""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution


def needed(name, seen):
    """Installed distributions that `name` needs, itself included."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return
    try:
        found = distribution(name)
    except PackageNotFoundError:  # a requirement for other machines
        return
    seen[key] = found
    for requirement in found.requires or []:
        if "extra ==" not in requirement:
            needed(re.match(r"[\w.-]+", requirement)[0], seen)


def size(found):
    paths = (found.locate_file(file) for file in found.files or [])
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    distributions = {}
    needed(sys.argv[1], distributions)
    print(sum(map(size, distributions.values())) / 1e6, len(distributions))
