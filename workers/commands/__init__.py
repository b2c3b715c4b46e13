"""The verbs of the `clearline` command, one file each."""
