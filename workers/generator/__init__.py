"""Asks a chat endpoint for texts; what it answers is a draft until a person has read it."""
