"""How far an attempt is: for people, for the operator and for Prometheus."""
