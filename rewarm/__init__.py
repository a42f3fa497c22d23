"""rewarm: update a language model with new text, keep what it knew, and prove both."""

import os

__version__ = "0.1.0"

# Libraries read these when they are first imported, so they are set before any of them is. Each may be set otherwise
# by the user. What they end: usage reports in requests to the hub; a look for a newer huggingface_hub; a request that
# counts a dataset's loads; and a request to a public service to convert a model whose weights are pickled;
# the reports of a Ray cluster that is started from here.
for _name, _value in {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "false",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)
