"""What people and Prometheus see of the operator: logs, metrics and its health."""
