"""The commands: ``mmres X`` calls ``main(argv)`` of the module ``X``."""
