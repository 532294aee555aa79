"""What an attempt can go on from: training states, what earlier attempts reached, and the record of the steps."""
