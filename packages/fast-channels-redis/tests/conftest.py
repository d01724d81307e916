import sys
from pathlib import Path

# --import-mode=importlib leaves it to us to make helpers importable; first of all, because other
# folders have modules with some of the same names.
sys.path.insert(0, str(Path(__file__).parent))

from redis_layers import connect_layer as connect_layer  # it can be found now
from redis_layers import layer as layer
from redis_layers import layer_class as layer_class
from redis_layers import make_layer as make_layer
from redis_layers import other as other
from redis_servers.fixtures import certificates as certificates
from redis_servers.fixtures import own_cluster as own_cluster
from redis_servers.fixtures import own_server as own_server
from redis_servers.fixtures import own_trio as own_trio
from redis_servers.fixtures import redis_binary as redis_binary
from redis_servers.fixtures import redis_cluster as redis_cluster
from redis_servers.fixtures import redis_server as redis_server
from redis_servers.fixtures import sentinel_trio as sentinel_trio
from redis_servers.fixtures import shared_redis_cluster as shared_redis_cluster
from redis_servers.fixtures import shared_redis_server as shared_redis_server
from redis_servers.fixtures import tls_server as tls_server
