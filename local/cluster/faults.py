"""The one kind of error that a user of the cluster can do something about."""


class ClusterError(Exception):
    """Its text says in one line what is wrong, where, and what to do."""
