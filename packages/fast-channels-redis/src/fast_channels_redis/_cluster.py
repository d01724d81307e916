"""The servers of a Redis Cluster."""

from fast_channels_redis._keeper import Incidents
from fast_channels_redis._options import ClusterSeeds
from fast_channels_redis._shards import Prepare, Shards


def make_cluster_shards(
    seeds: ClusterSeeds, patience: float, incidents: Incidents, prepare: Prepare
) -> Shards:
    raise NotImplementedError
