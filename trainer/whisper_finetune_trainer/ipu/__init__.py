"""The backend for IPUs: optimum-graphcore's own trainer, and what it lacks."""
