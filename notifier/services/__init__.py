"""The loops that move things on."""
