"""The folder that a run writes: on a volume, in an object store or on the Hub."""
