"""Two snapshots of a corpus -> what is new, what changed, what is gone."""
