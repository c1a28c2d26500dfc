"""Compare the results of a set: curves, means over seeds, differences to the baseline, a scaling law, a table."""
