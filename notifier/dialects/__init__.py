"""Bytes → Event."""
