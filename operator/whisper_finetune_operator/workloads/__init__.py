"""Jobs, IPUJobs and their pods: how they are built and how they are read. Pure."""
