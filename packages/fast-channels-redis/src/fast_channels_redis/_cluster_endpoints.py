"""How to get a connection to a node of a Redis Cluster."""

from redis.exceptions import AskError, MovedError

from fast_channels_redis._endpoint import Endpoint, Reply, ServerConnection
from fast_channels_redis._packing import pack
from fast_channels_redis._topology import Address, Topology, redirected_to, slot_of

_ASKING = pack(("ASKING",))


class NodeEndpoint(Endpoint):
    """One node."""

    def __init__(self, topology: Topology, address: Address) -> None:
        self._topology = topology
        self._server = topology.server(address)
        self.address = address

    @property
    def name(self) -> str:
        return self._server.name

    async def open(self) -> ServerConnection:
        connection = await self._server.open()
        self._topology.trust(self.address)
        return connection

    def heed(self, error: Exception) -> None:
        if isinstance(error, MovedError):
            self._topology.hint()
        else:
            self._topology.suspect(self.address)


class KeyEndpoint(Endpoint):
    """Whichever node serves a key, found out for every connection anew."""

    def __init__(self, topology: Topology, key: str) -> None:
        self._topology = topology
        self._slot = slot_of(key)
        self._node: NodeEndpoint | None = None
        self._next: Address | None = None
        self._is_importing = False

    @property
    def name(self) -> str:
        return f"slot {self._slot}" if self._node is None else self._node.name

    async def open(self) -> ServerConnection:
        self._is_importing = False
        address, self._next = self._next, None
        if address is not None:
            self._is_importing = True
        elif (address := self._topology.owner_of(self._slot)) is None:
            self._topology.hint()
            raise ConnectionError(f"no node of the Cluster serves slot {self._slot}")
        self._node = NodeEndpoint(self._topology, address)
        connection = await self._node.open()
        return _Asking(connection) if self._is_importing else connection

    async def moved(self, connection: ServerConnection) -> None:
        # A node that lives says so itself, when it has nothing more for who reads.
        if isinstance(connection, _Asking):
            await super().moved(connection)
        while (connection.host, connection.port) in self._topology.nodes:
            await self._topology.change.wait()

    def heed(self, error: Exception) -> None:
        if self._node is None:
            return
        if isinstance(error, MovedError):
            self._topology.moved(error, self._node.address)
        elif isinstance(error, AskError):
            # Reading goes on at the node that the key has gone to, ahead of its slot.
            self._next = redirected_to(error, self._node.address)
        else:
            self._node.heed(error)


class _Asking:
    """Has each command carried out by a node that gets the slot and does not have it yet."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._writer = getattr(connection, "_writer", None)
        self.host = connection.host
        self.port = connection.port

    @property
    def is_connected(self) -> bool:
        return self._connection.is_connected

    async def connect(self) -> None:
        await self._connection.connect()

    async def disconnect(self, nowait: bool = False) -> None:
        await self._connection.disconnect(nowait)

    async def send_packed_command(
        self, command: bytes | list[bytes], check_health: bool = True
    ) -> None:
        commands = [command] if isinstance(command, bytes) else command
        asking = [part for packed in commands for part in (_ASKING, packed)]
        await self._connection.send_packed_command(asking, check_health)

    async def read_response(self, *, push_request: bool = False) -> Reply:
        await self._connection.read_response(push_request=push_request)
        return await self._connection.read_response(push_request=push_request)
