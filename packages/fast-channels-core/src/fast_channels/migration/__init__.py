"""``python -m fast_channels.migration PATH…`` finds what has to change on the way to Fast Channels.

It reads Python files that use Django Channels, channels_redis, ``fast-channels`` 1.x, broadcaster
or python-socketio, and what is installed. It never runs or imports what it reads. There is nothing
to import here.
"""

# Nothing of the rest of the package either: one of the faults that this is to find is that most of
# the package's files are gone.

__all__: list[str] = []
