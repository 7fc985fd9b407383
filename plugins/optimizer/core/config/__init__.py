"""A run's configuration: its keys with their bounds (`settings`), and how default, entity and run values merge."""
