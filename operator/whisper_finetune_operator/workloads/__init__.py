"""Jobs, IPUJobs and their pods: built from plans, and read back. Pure."""
