"""What a run can go on from: states, what earlier attempts reached, and the record of the steps."""
