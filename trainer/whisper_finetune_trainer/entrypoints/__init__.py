"""The ways into the trainer, in a pod and on a workstation. Each ends with an exit code and a result."""
