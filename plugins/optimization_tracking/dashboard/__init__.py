"""The pages for people: runs, the best ones, groups of them, a figure's trend, one run, its samples, several
runs side by side.

app.py        puts the pages together; they are read only, rendered on the server, and load nothing from another host
sessions.py   a key entered once becomes a cookie; failures.py has the error pages
lists.py, judging.py, detail.py, comparing.py, signing.py   the pages
filters.py, charts.py, differences.py, words.py, formatting.py   from query to values; rendering.py writes the HTML
templates/    the HTML; static/ what only these pages have beside `optimizer.presentation.web`
"""
