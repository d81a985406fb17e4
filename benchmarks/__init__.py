"""`make bench`: how fast bubuku is, measured on real Kafka under load, beside brokers that have no bubuku."""
