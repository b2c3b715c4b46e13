"""Clearline and Kafka: how it is reached, what its topics are, what its messages hold."""
