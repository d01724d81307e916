"""Registers the layer that the environment says: LAYER its path, LAYER_CONFIG its options."""

import importlib
import json
import os

from fast_channels.layers import register_channel_layer

_module, _, _name = os.environ["LAYER"].rpartition(".")
_class = getattr(importlib.import_module(_module), _name)
register_channel_layer("default", _class(**json.loads(os.environ["LAYER_CONFIG"])))
