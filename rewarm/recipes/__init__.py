"""Whole plans: the demo, and one per published system."""
