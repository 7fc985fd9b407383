"""One run: its handle, its staging prefix, what its steps compute without any system, and what it published."""
