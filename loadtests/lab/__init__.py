"""Scenarios × doors × payloads → load that locust runs, and figures that can be believed.

The load comes from an event loop in a thread of its own, so locust must not patch the standard
library; it looks for this variable when it is first imported.
"""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
