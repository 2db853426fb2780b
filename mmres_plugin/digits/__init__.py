"""How the digits data is drawn; tools/datasets/build_digits.py is the command."""
