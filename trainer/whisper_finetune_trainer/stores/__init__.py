"""What the addresses of a spec lead to: volumes, object stores and the Hub. And what their errors mean."""
