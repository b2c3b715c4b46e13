"""The product's own measurements, side by side in one process, for a user's machine: `clearline bench`."""
