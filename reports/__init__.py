"""From records to pages: a pure function, without torch."""
