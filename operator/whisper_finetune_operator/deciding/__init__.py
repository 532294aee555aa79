"""What to do about a run, from what the world shows. Pure: nothing here knows kopf, a client or a clock."""
