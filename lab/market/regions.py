"""The regions of the simulated market: US states, their residents (census of 2020) and the clock they live by."""

# name: (residents in thousands, hours behind UTC in winter)
REGIONS: dict[str, tuple[int, int]] = {
    "California": (39538, 8), "Texas": (29146, 6), "Florida": (21538, 5), "New York": (20201, 5),
    "Pennsylvania": (13003, 5), "Illinois": (12813, 6), "Ohio": (11799, 5), "Georgia": (10712, 5),
    "North Carolina": (10439, 5), "Michigan": (10077, 5), "New Jersey": (9289, 5), "Virginia": (8631, 5),
    "Washington": (7705, 8), "Arizona": (7152, 7), "Massachusetts": (7030, 5), "Tennessee": (6911, 6),
    "Indiana": (6786, 5), "Maryland": (6177, 5), "Missouri": (6155, 6), "Wisconsin": (5894, 6),
    "Colorado": (5774, 7), "Minnesota": (5706, 6), "South Carolina": (5118, 5), "Alabama": (5024, 6),
    "Louisiana": (4658, 6), "Kentucky": (4506, 5), "Oregon": (4237, 8), "Oklahoma": (3959, 6),
    "Connecticut": (3606, 5), "Utah": (3272, 7), "Iowa": (3190, 6), "Nevada": (3105, 8),
    "Arkansas": (3012, 6), "Mississippi": (2961, 6), "Kansas": (2938, 6), "New Mexico": (2118, 7),
    "Nebraska": (1962, 6), "Idaho": (1839, 7), "West Virginia": (1794, 5), "Hawaii": (1455, 10),
    "New Hampshire": (1378, 5), "Maine": (1362, 5), "Rhode Island": (1097, 5), "Montana": (1084, 7),
    "Delaware": (990, 5), "South Dakota": (887, 6), "North Dakota": (779, 6), "Alaska": (733, 9),
    "District of Columbia": (690, 5), "Vermont": (643, 5), "Wyoming": (577, 7),
}  # fmt: skip
