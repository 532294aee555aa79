"""The final model in the forms of other engines, each made and heard by its own engine in a process of its own."""
