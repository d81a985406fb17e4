"""One machine, a whole cluster: real ZooKeeper and Kafka, each broker under its own bubuku daemon."""
