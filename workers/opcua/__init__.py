"""OPC UA: the server that a PLC reads."""
