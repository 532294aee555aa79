"""How far an attempt has come: for people, for the operator and for Prometheus."""
