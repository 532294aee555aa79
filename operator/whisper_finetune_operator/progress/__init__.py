"""How the operator learns from trainers how far they are: whom it asks, when, and what it believes."""
