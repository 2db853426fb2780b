"""What speed.py and construction.py measure with."""
