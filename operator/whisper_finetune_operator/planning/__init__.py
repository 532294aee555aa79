"""From a spec and the admin's file to a plan. Pure."""
