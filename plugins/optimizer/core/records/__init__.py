"""The records of a run: typed values that one step leaves for the next, and the names of the files they are kept in."""
