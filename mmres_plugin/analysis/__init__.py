"""Training backbones under one recipe; tools/analysis/compare_backbones.py is the command."""
