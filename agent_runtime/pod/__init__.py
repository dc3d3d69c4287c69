"""What this agent is to its pool and its node: its state, its memory, its Secrets."""
