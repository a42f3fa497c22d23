"""What is minimised and how a pass over packed rows is made: the causal language-model loss, document attention."""
