"""Texts: what classes are called and look like, and the vectors made of it."""
