"""The only loop, its optimizer, checkpoints and journal."""
