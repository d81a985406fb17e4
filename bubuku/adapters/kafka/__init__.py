"""Kafka's own protocol: the cluster's metadata, our listener, and registrations in KRaft."""

from bubuku.adapters.kafka.admin import KafkaAdmin
from bubuku.adapters.kafka.kraft_registrations import KraftRegistrations
from bubuku.adapters.kafka.link import ClientSettings

__all__ = ["ClientSettings", "KafkaAdmin", "KraftRegistrations"]
