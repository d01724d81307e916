"""A Django project with a layer of ours as its CHANNEL_LAYERS, beside `with_redis.py`."""
