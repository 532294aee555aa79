"""The backend for IPUs: optimum-graphcore's own trainer, with what it lacks added."""
