"""The thing being updated: load, make from scratch, save, sample."""
