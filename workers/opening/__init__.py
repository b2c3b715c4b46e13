"""Sections of the configuration to running parts."""
