"""What runs: sources, sinks, threads, processes, the command line."""
