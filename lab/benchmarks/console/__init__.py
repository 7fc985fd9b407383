"""What the console costs: a fleet of clients with a year behind it, and the pages that read it.

models.py     ten clients in their states, with runs, deployments and measured days
fleet.py      fills a control plane with clients that are like them
published.py  publishes runs with many segments
pages.py      asks for each page many times, and counts its statements
"""
