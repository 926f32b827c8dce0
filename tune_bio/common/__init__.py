"""Files written whole, hashing, seeds, labels: what every folder uses."""
