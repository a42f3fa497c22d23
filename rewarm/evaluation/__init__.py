"""Model -> scores with counts and intervals; scores -> the matrix and its metrics."""
