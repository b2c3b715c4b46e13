"""Decides whether a new head may go live, and whether it may stay."""
