"""What all web pages share: templates, static files with their hashes, response headers, the design language.

static/base.css   colors, type, tables, forms and tiles, light and dark
static/theme.js   the color scheme that Airflow's UI has, or the system's
static/charts.js  draws the JSON of a page's charts with uPlot
static/vendor/    the libraries, unchanged; vendor.toml lists them with their licenses
"""
