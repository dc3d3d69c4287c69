"""What would a pool have cost, and who would have waited, under recorded traffic? The `agentpool plan` command."""
