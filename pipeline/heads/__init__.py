"""Heads: from features to class scores, fitted on few labelled images, kept as immutable bundles."""
