import pytest
from redis_servers import SentinelTrio, ServerError
from redis_servers._client import call
from redis_servers.fixtures import TrioFactory


def test_the_sentinels_replace_a_master_that_died(sentinel_trio: SentinelTrio) -> None:
    trio = sentinel_trio
    assert trio.master is trio.servers[0]
    trio.master.execute("SET", "key", "value")
    trio.master.execute("WAIT", 2, 5000)

    old = trio.kill_master()
    trio.wait_for_failover(old)
    assert trio.master.execute("GET", "key") == "value"

    if trio.binary.version < (7,):
        return  # it takes 20 s there
    old.start()
    trio.wait_until_complete()
    assert old.info("replication")["role"] == "slave"


def test_a_failover_on_command(own_trio: TrioFactory) -> None:
    trio = own_trio(name="other", password="se cret", sentinel_password="guarded")
    old = trio.failover()
    assert old.running
    assert {sentinel.master_port() for sentinel in trio.sentinels} == {trio.master.port}
    assert trio.master is not old
    for address in (trio.addresses[0], trio.master.address):
        with pytest.raises(ServerError, match="NOAUTH"):
            call(address, "PING")
