"""Which objects should exist for a pool? Pure: values in, JSON objects out."""
