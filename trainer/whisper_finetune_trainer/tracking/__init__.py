"""MLflow and Weights & Biases, which are told of a run in the background if a Secret gives their address or key."""
