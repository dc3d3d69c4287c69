"""What the cluster tool says when it cannot go on."""


class ClusterError(Exception):
    """The message is one line for a person and says what to do next."""
