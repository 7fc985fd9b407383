"""report.html: what a trader asks of a run, on one page that works offline, from values that were already computed."""
