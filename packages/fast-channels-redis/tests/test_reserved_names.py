import pytest

import fast_channels_redis
from fast_channels.layers import redis as facade
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer


@pytest.mark.parametrize("layer", [RedisChannelLayer, RedisPubSubChannelLayer])
def test_constructing_says_that_the_layer_is_not_here_yet(
    layer: type[RedisChannelLayer] | type[RedisPubSubChannelLayer],
) -> None:
    with pytest.raises(NotImplementedError, match=f"^{layer.__name__} is not part of this release"):
        layer(hosts=["redis://127.0.0.1:6379"])


def test_the_documented_path_has_every_public_name() -> None:
    assert facade.__all__ == fast_channels_redis.__all__
    for name in facade.__all__:
        assert getattr(facade, name) is getattr(fast_channels_redis, name)
