"""What to do about a run, from what the world shows. Pure: nothing here knows a client or a clock."""
