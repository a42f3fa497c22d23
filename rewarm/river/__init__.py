"""The whole way, from a plan to a report: inputs, legs, training, scores, controls, result."""
