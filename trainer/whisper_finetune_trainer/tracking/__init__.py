"""MLflow and Weights & Biases, where a Secret gives their address: told in the background, and never waited for."""
