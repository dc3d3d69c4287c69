"""Prompt compression: fewer input tokens, the same facts."""
