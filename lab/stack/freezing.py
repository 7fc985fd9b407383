"""Imported last by the process that all task processes are forked from: keeps what it loaded out of garbage collection.

The first full collection of each task would read all of it, and so copy every page of it: a quarter of a second a task.
"""

import gc

gc.collect()
gc.freeze()
