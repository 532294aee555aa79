"""How a spec is run, by numbers alone: schedule, batch shape, memory, and the layout on IPUs. Pure."""
