"""What a bid request says about the user's privacy, and what the bidder leaves out for it.

signals  the signals of a request
policy   which signal withholds what, from a file
us       strings of the USA: us_privacy and the sections of states in a GPP string
gpp      the container of the Global Privacy Platform
tcf      consent strings of the TCF in Europe and Canada
bits     fields of fixed width in these strings
"""
