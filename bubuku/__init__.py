"""bubuku: one daemon beside every Kafka broker."""

__version__ = "2.0.0.dev0"
