"""From a spec and the admin's file to a plan, and from a plan to a workload. Pure."""
