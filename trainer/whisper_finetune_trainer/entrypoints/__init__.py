"""The ways into the trainer, in a pod and on a workstation. Every way out is an exit code and a result."""
