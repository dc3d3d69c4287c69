"""kopf in, keys out: every event updates what is known of the cluster and asks for a pass, nothing else."""
