"""Model cards: one a measured file, in the form that model hubs read."""
