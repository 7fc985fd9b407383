"""A simulated market of one SSP client whose truth can be asked: for the demo, the tests and the benchmark."""
