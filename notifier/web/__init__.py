"""Doors in: HTTP for mail servers, end users, providers and operators."""
