"""Consumers and channel layers for FastAPI, Starlette and any ASGI application.

Import from the submodules: `fast_channels.consumer`, `fast_channels.layers`,
`fast_channels.limits`, `fast_channels.middleware`, `fast_channels.serializers`,
`fast_channels.exceptions`, `fast_channels.types`. Two of them are doors to distributions of
their own: `fast_channels.layers.redis` (fast-channels-redis) and `fast_channels.testing`
(fast-channels-testing).

The distributions have versions of their own, so there is no `__version__` here; ask
`importlib.metadata.version("fast-channels-core")`.
"""
