"""Questline, the open-source engagement engine."""
