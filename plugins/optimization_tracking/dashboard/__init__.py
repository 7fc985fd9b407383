"""The pages for people: runs, one run, its samples, several runs side by side, the best ones.

app.py        puts the pages together; they are read only, and rendered here, without anything from another host
sessions.py   a key entered once becomes a cookie; failures.py is what is shown instead of a page
lists.py, detail.py, comparing.py, signing.py   the pages
filters.py, charts.py, differences.py, wording.py   from what is asked to what is shown; rendering.py writes the HTML
templates/    the HTML; static/ style and script, and in static/vendor/ the one library, see vendor.toml
"""
