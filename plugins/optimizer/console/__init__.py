"""The console: web pages on which a trader works, and the same as a JSON API. Airflow serves it; it imports no Airflow.

app.py        the app: routes, static files, error answers
access.py     who visits, and which clients they may read and change
answers/      one module per page: what it shows, as a typed answer, read from the systems
routes/       one module per page: its HTML and its JSON, both from the same answer
templates/, static/   HTML, and what these pages have beside `optimizer.presentation.web`
"""
