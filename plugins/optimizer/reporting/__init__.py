"""report.html: the pictures of a run on one self-contained page, from values that were already computed."""
