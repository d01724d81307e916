"""Registers the layer that the environment says: LAYER its path, LAYER_CONFIG its options."""

import importlib
import json
import logging
import os

from fast_channels.layers import register_channel_layer

_module, _, _name = os.environ["LAYER"].rpartition(".")
_class = getattr(importlib.import_module(_module), _name)
register_channel_layer("default", _class(**json.loads(os.environ["LAYER_CONFIG"])))

# That a step took 0.1 s is to be expected of so many threads and processes, also of those that
# multiprocessing starts anew.
logging.getLogger("asyncio").setLevel(logging.ERROR)
