"""How live runs do against forecast and control, what they save, and whether the traffic is split as deployed."""
