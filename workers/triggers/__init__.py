"""What says that a part is there: a port, a PLC, a topic; and the source that waits for it."""
