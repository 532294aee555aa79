"""Models out: the folder of a run, on a volume, in an object store or on the Hub."""
