"""Redis as the runtime uses it."""
