"""Files of a data set, on this machine or in a store."""
