"""The plan of a run in numbers: schedule, batch shape, memory, and the layout on IPUs. Pure."""
