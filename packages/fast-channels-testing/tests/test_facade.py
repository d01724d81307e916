import fast_channels_testing
from fast_channels import testing


def test_the_documented_path_has_every_public_name() -> None:
    assert testing.__all__ == fast_channels_testing.__all__
    for name in testing.__all__:
        assert getattr(testing, name) is getattr(fast_channels_testing, name)
