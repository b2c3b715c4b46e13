"""Where frames come from: cameras, files, the simulator."""
