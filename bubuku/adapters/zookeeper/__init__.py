"""Everything that bubuku does in ZooKeeper, over one session: its own coordination, and Kafka's registrations."""

from bubuku.adapters.zookeeper.coordination import ZooKeeperCoordination
from bubuku.adapters.zookeeper.registrations import ZooKeeperRegistrations
from bubuku.adapters.zookeeper.session import ConnectionState, Session, ZooKeeperSettings

__all__ = ["ConnectionState", "Session", "ZooKeeperCoordination", "ZooKeeperRegistrations", "ZooKeeperSettings"]
