"""Writes: objects, statuses, events and the charges in Redis. Doing it twice changes nothing."""
