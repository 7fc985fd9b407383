"""The databases that the control plane may have, and the driver by which the tests reach each."""

DRIVERS = {"mariadb": "mysql+pymysql", "mysql": "mysql+mysqlconnector"}
DATABASES = ("sqlite", *DRIVERS)
