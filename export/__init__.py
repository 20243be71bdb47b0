"""From a checkpoint to the file that is shipped, with proof that it computes the same."""
