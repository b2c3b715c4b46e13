"""The capture worker: cameras to the topic of frames."""
