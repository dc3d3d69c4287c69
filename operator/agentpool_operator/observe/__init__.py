"""Reads: the cluster as the watches show it, and Redis. Returns frozen values and writes nothing."""
