"""Real servers for tests. Both these tests and ``integration-tests/`` import it.

All of them listen on 127.0.0.1 only, and none outlives the tests.
"""

from ._binaries import Binary as Binary
from ._client import ServerError as ServerError
from ._cluster import Cluster as Cluster
from ._cluster import ClusterOptions as ClusterOptions
from ._cluster import slot_of as slot_of
from ._process import ServerProcess as ServerProcess
from ._process import free_port as free_port
from ._proxy import Proxy as Proxy
from ._sentinel import SentinelTrio as SentinelTrio
from ._sentinel import TrioOptions as TrioOptions
from ._server import Options as Options
from ._server import RedisServer as RedisServer
from ._tls import Certificates as Certificates
from ._wait import wait_until as wait_until
