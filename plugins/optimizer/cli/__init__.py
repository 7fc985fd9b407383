"""The `optimizer` command line: how a person looks in, and how the embedded stack is run."""
