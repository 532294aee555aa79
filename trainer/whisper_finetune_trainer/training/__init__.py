"""One attempt from data to model: the steps, and what happens between and after them."""
