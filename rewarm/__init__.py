"""rewarm: update a language model with new text, keep what it knew, and prove both."""

__version__ = "0.1.0"
