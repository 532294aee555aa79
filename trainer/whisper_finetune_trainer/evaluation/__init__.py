"""What was heard, and how well: evaluations, error rates and what changed between them."""
