"""The one kind of error that a user of the cluster can do something about."""


class ClusterError(Exception):
    """What is wrong, where, and what to do, in one line."""
