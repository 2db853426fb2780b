"""Cost, speed and feature maps of networks, and comparisons of backbones."""
