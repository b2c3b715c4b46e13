"""Judging heads: features files, protocols with recorded draws, metrics, tables."""
