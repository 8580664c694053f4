"""Set before SciPy is imported, so that scikit-learn's array API check is run and not skipped.

And Ctrl-C raises KeyboardInterrupt, also where the tests run as a job in the background: such a one is born
with SIGINT ignored, for which Python installs no handler, and hands that on to the processes it starts.
"""

import os
import signal

os.environ.setdefault("SCIPY_ARRAY_API", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)
