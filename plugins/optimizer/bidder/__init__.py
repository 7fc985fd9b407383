"""The bidder: what to bid on one request, with neither Airflow nor the optimizer's libraries installed.

requests     what is asked: macros, ids, floor
openrtb      bid requests of OpenRTB 2.6 as such questions, and prices as their response; privacy, currencies, deals
generation   what an entity is priced with from one switch to the next; never changed
pricing      a request and a generation give a price
tables       where the bids lie: a dictionary, or memcached
ring         which server of memcached holds a key
memcached    the servers, as tables are written to them
fetching     bids from them for the requests that are priced at this moment
loading      deployed runs and their checked files become a generation
building     a deployed entity and its objects become a generation; what did not change is kept
run_objects  the objects as one refresh reads them: within a limit of time
local_copy   a verified copy of what is served, on local disk
copy_keeper  keeps the copies in step with what is served
waiting      what the bidder waits for at this moment
refreshing   loads the new generation next to the old one, then switches; any failure keeps the old one
service      prices counted and timed, refreshed in the background
tally        what a process counts and times, as plain numbers
metrics      these numbers for Prometheus
health       what is served, how old it is and what went wrong last
web          the HTTP endpoint
listening    the HTTP server: requests that have to arrive in time, and a stop within a bound
workers      several processes on one port; worker_reports is what they tell each other
serving      the bidder as a server, alone or with workers
vectors      requests with their right prices, for bidders in other languages; vector_entities makes what they need
commands     the command line
settings     the environment's variables; environment reads them

unmapped_values  which values the mapping does not know
"""
