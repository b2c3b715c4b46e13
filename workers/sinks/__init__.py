"""Where predictions go."""
