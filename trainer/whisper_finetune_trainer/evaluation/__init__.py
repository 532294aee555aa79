"""What was heard, and how well: evaluations, word error rates and what changed between them."""
