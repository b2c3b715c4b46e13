"""Adaptation on the simulated line with the shipped encoder, measured end to end."""
