"""What flows through Clearline and how it is computed: no threads, no sockets, no clock of its own."""
