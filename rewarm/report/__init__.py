"""Result -> one self-contained HTML page, Markdown, JSON, and a table in the terminal; and the gate."""
