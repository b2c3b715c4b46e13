"""Beside the forward path: is the stream still the one the head was made for, and what may be changed."""
