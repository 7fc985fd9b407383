"""The bidder: what to bid on one request, with neither Airflow nor the optimizer's libraries installed.

requests     what is asked: macros, ids, floor
openrtb      a bid request of OpenRTB 2.6 as such questions, and prices as its response
generation   what an entity is priced with from one switch to the next; never changed
pricing      a request and a generation give a price
tables       where the bids lie: a dictionary, or memcached
loading      deployed runs and their checked files become a generation
refreshing   loads the new generation next to the old one, then switches; any failure keeps the old one
service      prices counted and timed, refreshed in the background
web          the HTTP endpoint
commands     the command line
settings     the environment's variables
"""
