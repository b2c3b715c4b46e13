"""MQTT: how its broker is reached."""
