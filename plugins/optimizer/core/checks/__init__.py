"""The checks between a run's bids and live traffic: what each means (`rules`), and how its figure is measured."""
