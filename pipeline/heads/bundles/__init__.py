"""Heads on disk: immutable bundles, their versions, and the features they were fitted on."""
