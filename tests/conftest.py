"""Set before SciPy is imported, so that scikit-learn's array API check is run and not skipped."""

import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")
