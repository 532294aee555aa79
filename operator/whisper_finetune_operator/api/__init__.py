"""The way to the API server: requests, watches of our own, and the Lease of the replica that acts."""
